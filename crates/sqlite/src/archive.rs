//! The archive: where an event is found to be fresh or a duplicate.

use std::collections::HashSet;

use sqlx::SqliteConnection;
use treehook_event::{Body, Event, Failure, Key, LinkId, ProfileId, Timestamp, Visit, VisitKind};

use crate::bulk::{ROWS_MAX, Values, is_full, with_values};
use crate::classify::failure;

const HEAD: &str = "insert into events (key, day, source, identity, type, occurred_at, received_at, \
     applied_at, profile_id, link_id, kind, country, referrer, device, visitor, detail, payload)";
// Not `or ignore`: that would pass over a violated check as if it were a duplicate.
const TAIL: &str = "on conflict (key) do nothing returning key";

/// Archives the events that are not there yet; says at which positions of the batch they stand.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    events: &[Event],
    now: Timestamp,
) -> Result<Vec<usize>, Failure> {
    let rows: Vec<(Key, &Event)> = events.iter().map(|event| (event.key(), event)).collect();
    let mut inserted: HashSet<Vec<u8>> = HashSet::with_capacity(rows.len());
    for chunk in rows.chunks(ROWS_MAX) {
        let mut statement = with_values(HEAD, TAIL, chunk, |values, (key, event)| {
            bind(values, *key, event, now);
        });
        let query = statement.build_query_scalar::<Vec<u8>>().persistent(is_full(chunk));
        inserted.extend(query.fetch_all(&mut *connection).await.map_err(failure)?);
    }
    let fresh = rows.iter().enumerate().filter_map(|(position, (key, _))| {
        // `remove`, not `contains`: the same identity twice in one batch still counts once.
        inserted.remove(key.0.as_slice()).then_some(position)
    });
    Ok(fresh.collect())
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
