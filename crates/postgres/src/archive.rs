//! The archive: an event's row, and whether the event is recorded for the first time.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::{Connection as _, PgConnection};
use time::{Date, OffsetDateTime};
use tokio::task::yield_now;
use treehook_event::{Body, Day, Event, Key, LinkId, ProfileId, Rollup, Timestamp, VisitKind};

use crate::caution::Caution;
use crate::classify;
use crate::columns::{date, moment};
use crate::copy::copy;

/// How near to midnight an event's other rendering may lie on the neighbouring day: senders retry
/// for about 21 minutes, and some render the envelope anew each time.
const NEAR_MIDNIGHT_MS: i64 = 30 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An event and its key.
type Entry<'a> = (&'a Key, &'a Event);

/// A batch in which every identity stands once: the first of each.
pub(crate) struct Batch<'a> {
    events: &'a [Event],
    /// In order of key, and where it stands.
    positions: Vec<(Key, usize)>,
}

impl<'a> Batch<'a> {
    /// Some at a time: whoever records the batch before in the same task has rows to send.
    pub(crate) async fn of(events: &'a [Event]) -> Self {
        let mut positions: Vec<(Key, usize)> = Vec::with_capacity(events.len());
        for turn in events.chunks(TURN) {
            let position = positions.len();
            positions.extend(turn.iter().map(Event::key).zip(position..));
            yield_now().await;
        }
        positions.sort_unstable();
        positions.dedup_by_key(|(key, _)| *key);
        Self { events, positions }
    }

    /// How many identities.
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Where each of them stands, in order.
    pub(crate) fn positions(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = self.positions.iter().map(|(_, at)| *at).collect();
        positions.sort_unstable();
        positions
    }

    /// Folds what stands at these positions; some at a time as well.
    pub(crate) async fn fold(&self, positions: &[usize]) -> Rollup {
        let mut rollup = Rollup::default();
        for turn in positions.chunks(TURN) {
            rollup.take_in(turn.iter().map(|position| &self.events[*position]));
            yield_now().await;
        }
        rollup
    }

    /// The days on which they are archived.
    pub(crate) fn days(&self) -> BTreeSet<Day> {
        self.entries().map(|(_, event)| event.occurred_at.day()).collect()
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.positions.iter().map(|(key, position)| (key, &self.events[*position]))
    }

    fn position(&self, key: &Key) -> Option<usize> {
        let found = self.positions.binary_search_by_key(key, |(key, _)| *key).ok()?;
        Some(self.positions[found].1)
    }
}

/// Events after which others have their turn.
const TURN: usize = 64;

/// From so many rows on they are copied: below, the rounds to the server cost more than its work.
const COPY_MIN: usize = 100;

/// Archives what is not archived yet. Answers the positions of the fresh events, in order.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    caution: &Caution,
    now: Timestamp,
) -> sqlx::Result<Vec<usize>> {
    let known = known_next_door(connection, batch).await?;
    let mut unknown: Vec<Entry<'_>> =
        batch.entries().filter(|(key, _)| !known.contains(*key)).collect();
    let fresh = if unknown.len() < COPY_MIN {
        insert_rows(connection, &unknown, now).await?
    } else {
        // Several transactions may bring the same identities in other orders: sorted, they never wait
        // for each other in a circle.
        unknown.sort_by_key(|(key, event)| (event.occurred_at.day(), *key));
        copy_rows(connection, unknown, caution, now).await?
    };
    if fresh.len() == batch.len() {
        return Ok(batch.positions());
    }
    let mut positions: Vec<usize> = fresh.iter().filter_map(|key| batch.position(key)).collect();
    positions.sort_unstable();
    Ok(positions)
}

/// Copies what is not there. Where nothing was for a while, nothing is looked up either.
async fn copy_rows(
    connection: &mut PgConnection,
    mut rows: Vec<Entry<'_>>,
    caution: &Caution,
    now: Timestamp,
) -> sqlx::Result<Vec<Key>> {
    if !caution.is_due() {
        if copy_all(connection, &rows, now).await? {
            return Ok(keys(&rows));
        }
        caution.saw(true);
    }
    let mut asked: BTreeMap<Day, Vec<&[u8]>> = BTreeMap::new();
    for (key, event) in &rows {
        asked.entry(event.occurred_at.day()).or_default().push(&key.0);
    }
    let known = known_on(connection, asked).await?;
    caution.saw(!known.is_empty());
    rows.retain(|(key, _)| !known.contains(*key));
    if rows.is_empty() || copy_all(connection, &rows, now).await? {
        return Ok(keys(&rows));
    }
    // Another worker archives one of them at this moment.
    insert_rows(connection, &rows, now).await
}

/// Copies all of them, or none and says so: one is there already.
async fn copy_all(
    connection: &mut PgConnection,
    rows: &[Entry<'_>],
    now: Timestamp,
) -> sqlx::Result<bool> {
    let mut attempt = connection.begin().await?;
    match copy(&mut attempt, rows, now).await {
        Ok(()) => attempt.commit().await.map(|()| true),
        Err(error) if classify::is_duplicate(&error) => attempt.rollback().await.map(|()| false),
        Err(error) => Err(error),
    }
}

fn keys(rows: &[Entry<'_>]) -> Vec<Key> {
    rows.iter().map(|(key, _)| **key).collect()
}

/// Inserts what is not there; answers which.
async fn insert_rows(
    connection: &mut PgConnection,
    entries: &[Entry<'_>],
    now: Timestamp,
) -> sqlx::Result<Vec<Key>> {
    let mut rows = Rows::default();
    for (key, event) in entries {
        rows.push(key, event);
    }
    rows.insert(connection, now).await
}

/// The day on the other side of midnight, for an event near it.
fn neighbour(at: Timestamp) -> Option<Day> {
    let into_day = at.millis_since(at.day().start());
    if into_day < NEAR_MIDNIGHT_MS {
        Some(at.day().plus(-1))
    } else if into_day >= DAY_MS - NEAR_MIDNIGHT_MS {
        Some(at.day().plus(1))
    } else {
        None
    }
}

/// The events near midnight that are archived on the neighbouring day.
async fn known_next_door(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
) -> sqlx::Result<HashSet<Key>> {
    let mut asked: BTreeMap<Day, Vec<&[u8]>> = BTreeMap::new();
    for (key, event) in batch.entries() {
        if let Some(day) = neighbour(event.occurred_at) {
            asked.entry(day).or_default().push(&key.0);
        }
    }
    known_on(connection, asked).await
}

/// Which of these keys are archived on these days.
async fn known_on(
    connection: &mut PgConnection,
    asked: BTreeMap<Day, Vec<&[u8]>>,
) -> sqlx::Result<HashSet<Key>> {
    let mut known = HashSet::new();
    // A query for each day, so that each looks into one partition alone.
    for (day, keys) in asked {
        let found: Vec<[u8; 16]> = sqlx::query_scalar(KNOWN)
            .bind(date(day))
            .bind(keys)
            .fetch_all(&mut *connection)
            .await?;
        known.extend(found.into_iter().map(Key));
    }
    Ok(known)
}

/// A query within a query, so that the index is asked for each key whatever the planner believes: of a day that
/// was never analyzed it believes that reading all of it is quicker, and is wrong by the size of the day.
const KNOWN: &str = "
select n.key from unnest($2::bytea[]) n (key)
where (select true from events e where e.day = $1 and e.key = n.key)";

/// Rows to be archived, column by column.
#[derive(Default)]
struct Rows<'a> {
    day: Vec<Date>,
    key: Vec<&'a [u8]>,
    source: Vec<&'a str>,
    identity: Vec<&'a str>,
    event_type: Vec<&'a str>,
    occurred_at: Vec<OffsetDateTime>,
    received_at: Vec<OffsetDateTime>,
    profile_id: Vec<Option<&'a str>>,
    link_id: Vec<Option<&'a str>>,
    kind: Vec<Option<&'static str>>,
    country: Vec<Option<&'a str>>,
    referrer: Vec<Option<&'a str>>,
    device: Vec<Option<&'static str>>,
    visitor: Vec<Option<i64>>,
    detail: Vec<Option<String>>,
    payload: Vec<&'a str>,
}

/// Several transactions may bring the same identities in other orders: sorted, they never wait for
/// each other in a circle.
const INSERT: &str = "
insert into events (day, key, source, identity, type, occurred_at, received_at, applied_at,
    profile_id, link_id, kind, country, referrer, device, visitor, detail, payload)
select day, key, source, identity, type, occurred_at, received_at, $1,
    profile_id, link_id, kind, country, referrer, device, visitor, detail, payload
from unnest($2::date[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
    $15::bigint[], $16::text[], $17::text[])
    as n (day, key, source, identity, type, occurred_at, received_at,
    profile_id, link_id, kind, country, referrer, device, visitor, detail, payload)
order by day, key
on conflict do nothing
returning key";

impl<'a> Rows<'a> {
    fn push(&mut self, key: &'a Key, event: &'a Event) {
        let visit = match &event.body {
            Body::Visit(visit) => Some(visit),
            Body::Link(_)
            | Body::Profile(_)
            | Body::Milestone(_)
            | Body::Unknown { .. }
            | Body::Unfit { .. }
            | Body::Statement(_) => None,
        };
        self.day.push(date(event.occurred_at.day()));
        self.key.push(&key.0);
        self.source.push(event.source.as_str());
        self.identity.push(event.identity.as_str());
        self.event_type.push(event.event_type());
        self.occurred_at.push(moment(event.occurred_at));
        self.received_at.push(moment(event.received_at));
        self.profile_id.push(event.profile_id().map(ProfileId::as_str));
        self.link_id.push(event.link_id().map(LinkId::as_str));
        self.kind.push(visit.map(|visit| match visit.kind {
            VisitKind::Click { .. } => "click",
            VisitKind::View => "view",
        }));
        self.country.push(visit.map(|visit| visit.country.as_str()));
        self.referrer.push(visit.map(|visit| visit.referrer.as_str()));
        self.device.push(visit.map(|visit| visit.device.as_str()));
        self.visitor.push(visit.and_then(|visit| visit.visitor).map(|id| id.0.cast_signed()));
        self.detail.push(detail(&event.body));
        self.payload.push(&event.payload);
    }

    async fn insert(self, connection: &mut PgConnection, now: Timestamp) -> sqlx::Result<Vec<Key>> {
        if self.key.is_empty() {
            return Ok(Vec::new());
        }
        let fresh: Vec<[u8; 16]> = sqlx::query_scalar(INSERT)
            .bind(moment(now))
            .bind(self.day)
            .bind(self.key)
            .bind(self.source)
            .bind(self.identity)
            .bind(self.event_type)
            .bind(self.occurred_at)
            .bind(self.received_at)
            .bind(self.profile_id)
            .bind(self.link_id)
            .bind(self.kind)
            .bind(self.country)
            .bind(self.referrer)
            .bind(self.device)
            .bind(self.visitor)
            .bind(self.detail)
            .bind(self.payload)
            .fetch_all(connection)
            .await?;
        Ok(fresh.into_iter().map(Key).collect())
    }
}

/// The body as JSON, unless the columns hold all of it: most events are plain visits.
pub(crate) fn detail(body: &Body) -> Option<String> {
    match body {
        Body::Visit(visit) if visit.link.is_none() => None,
        Body::Visit(_)
        | Body::Link(_)
        | Body::Profile(_)
        | Body::Milestone(_)
        | Body::Unknown { .. }
        | Body::Unfit { .. }
        | Body::Statement(_) => {
            Some(serde_json::to_string(body).expect("a body has nothing that JSON lacks"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_near_midnight_have_a_neighbouring_day() {
        for (time, day) in [
            ("2026-11-24T00:00:00.000Z", Some("2026-11-23")),
            ("2026-11-24T00:29:59.999Z", Some("2026-11-23")),
            ("2026-11-24T00:30:00.000Z", None),
            ("2026-11-24T23:29:59.999Z", None),
            ("2026-11-24T23:30:00.000Z", Some("2026-11-25")),
            ("2026-11-24T23:59:59.999Z", Some("2026-11-25")),
        ] {
            let at = Timestamp::from_rfc3339(time).unwrap();
            assert_eq!(neighbour(at).map(Day::to_iso).as_deref(), day, "{time}");
        }
    }
}
