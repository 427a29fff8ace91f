//! The archive: where an event is found to be fresh or a duplicate.

use std::collections::HashSet;

use futures_util::future::join;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_scalar};
use tokio::task::yield_now;
use treehook_event::{
    Body, Event, Failure, Key, LinkId, ProfileId, Rollup, Timestamp, Visit, VisitKind,
};

use crate::bulk::{Values, chunks, is_full, turns, with_values_in_turns};
use crate::classify::{damaged, failure};

const HEAD: &str = "insert into events (key, day, source, identity, type, occurred_at, received_at, \
     applied_at, profile_id, link_id, kind, country, referrer, device, visitor, detail, payload)";
// Not `or ignore`: that would pass over a violated check as if it were a duplicate.
const TAIL: &str = "on conflict (key) do nothing";

/// Events that are ready to be archived: what takes time and needs no database is done, so that it can be
/// while the database is another batch's.
pub(crate) struct Prepared<'e> {
    events: &'e [Event],
    /// The events by key, and where each stands in the batch. In this order each page of the index of keys is met once:
    /// a batch changes more of them than the cache holds.
    rows: Vec<(Key, usize)>,
    inserts: Vec<Insert>,
}

/// A statement over many events.
struct Insert {
    statement: QueryBuilder<Sqlite>,
    /// How many.
    rows: usize,
    /// Word for word.
    comes_again: bool,
}

impl<'e> Prepared<'e> {
    /// Some at a time: whoever records the batch before in the same task has its statements to send.
    pub(crate) async fn of(events: &'e [Event], now: Timestamp) -> Self {
        let mut rows: Vec<(Key, usize)> = Vec::with_capacity(events.len());
        for turn in turns(events) {
            let position = rows.len();
            rows.extend(turn.iter().map(Event::key).zip(position..));
            yield_now().await;
        }
        rows.sort_unstable();
        let mut inserts = Vec::new();
        for chunk in chunks(&rows) {
            let statement = with_values_in_turns(HEAD, TAIL, chunk, |values, (key, position)| {
                bind(values, *key, &events[*position], now);
            });
            let (statement, comes_again) = (statement.await, is_full(chunk));
            inserts.push(Insert { statement, rows: chunk.len(), comes_again });
        }
        Self { events, rows, inserts }
    }

    /// Archives the events that are not there yet; says at which positions of the batch they stand, in order, and what
    /// they come to. The same identity twice in one batch counts once, too.
    pub(crate) async fn insert(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<(Vec<usize>, Rollup), Failure> {
        let (mut fresh, mut rollup) = (Vec::with_capacity(self.events.len()), Rollup::default());
        let mut last_id = last_id(connection).await?;
        let (mut rest, mut folded) = (self.rows.as_slice(), 0);
        for Insert { mut statement, rows, comes_again } in self.inserts {
            let inserting = statement.build().persistent(comes_again).execute(&mut *connection);
            // Those before them are folded while the connection's thread is at it.
            let unfolded: &[usize] = &fresh[folded..];
            let folding = fold(&mut rollup, self.events, unfolded);
            let inserted = join(inserting, folding).await.0.map_err(failure)?;
            folded = fresh.len();
            let (these, others) = rest.split_at(rows);
            rest = others;
            match usize::try_from(inserted.rows_affected()) {
                Ok(0) => continue,
                // Hardly any is there already.
                Ok(count) if count == rows => {
                    fresh.extend(these.iter().map(|(_, position)| position));
                }
                Ok(_) | Err(_) => {
                    let mut new = after(connection, last_id).await?;
                    let these = these.iter().filter(|(key, _)| new.remove(key));
                    fresh.extend(these.map(|(_, position)| position));
                }
            }
            last_id = inserted.last_insert_rowid();
        }
        fold(&mut rollup, self.events, &fresh[folded..]).await;
        fresh.sort_unstable();
        Ok((fresh, rollup))
    }
}

/// Folds the events that stand at these positions.
async fn fold(rollup: &mut Rollup, events: &[Event], positions: &[usize]) {
    for turn in turns(positions) {
        rollup.take_in(turn.iter().map(|position| &events[*position]));
        yield_now().await;
    }
}

/// The last row of the archive, below every one that is still to come.
async fn last_id(connection: &mut SqliteConnection) -> Result<i64, Failure> {
    let last: Option<i64> =
        query_scalar("select max(id) from events").fetch_one(connection).await.map_err(failure)?;
    Ok(last.unwrap_or(0))
}

/// The keys of the rows that were inserted after this one. Not asked of the insert itself, which would return nearly all
/// of its rows nearly every time, one by one from the connection's thread.
async fn after(connection: &mut SqliteConnection, id: i64) -> Result<HashSet<Key>, Failure> {
    let found: Vec<Vec<u8>> = query_scalar("select key from events where id > ?1")
        .bind(id)
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    let key = |bytes: Vec<u8>| bytes.try_into().map(Key).map_err(|_| damaged("a key's length"));
    found.into_iter().map(key).collect()
}

fn bind(values: &mut Values<'_>, key: Key, event: &Event, now: Timestamp) {
    let visit = match &event.body {
        Body::Visit(visit) => Some(visit),
        Body::Link(_)
        | Body::Profile(_)
        | Body::Milestone(_)
        | Body::Unknown { .. }
        | Body::Unfit { .. }
        | Body::Statement(_) => None,
    };
    values
        .push_bind(key.0.to_vec())
        .push_bind(event.occurred_at.day().0)
        .push_bind(event.source.as_str())
        .push_bind(event.identity.as_str())
        .push_bind(event.event_type())
        .push_bind(event.occurred_at.as_millis())
        .push_bind(event.received_at.as_millis())
        .push_bind(now.as_millis())
        .push_bind(event.profile_id().map(ProfileId::as_str))
        .push_bind(event.link_id().map(LinkId::as_str))
        .push_bind(visit.map(|visit| kind(&visit.kind)))
        .push_bind(visit.map(|visit| visit.country.as_str()))
        .push_bind(visit.map(|visit| visit.referrer.as_str()))
        .push_bind(visit.map(|visit| visit.device.as_str()))
        .push_bind(visit.and_then(|visit| visit.visitor).map(|visitor| visitor.0.cast_signed()))
        .push_bind(detail(&event.body))
        .push_bind(&*event.payload);
}

fn kind(kind: &VisitKind) -> &'static str {
    match kind {
        VisitKind::Click { .. } => "click",
        VisitKind::View => "view",
    }
}

/// What the columns do not hold. Plain visits, nearly all events, have nothing of the kind.
fn detail(body: &Body) -> Option<String> {
    match body {
        Body::Visit(Visit { link: None, .. }) => None,
        Body::Visit(_)
        | Body::Link(_)
        | Body::Profile(_)
        | Body::Milestone(_)
        | Body::Unknown { .. }
        | Body::Unfit { .. }
        | Body::Statement(_) => {
            Some(serde_json::to_string(body).expect("writing JSON to memory cannot fail"))
        }
    }
}
