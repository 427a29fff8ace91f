//! What is kept about one profile or one visitor: its history, and forgetting it.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use treehook_event::{
    Erased, EventType, Failure, HistoryRow, Identity, Key, LinkId, ProfileId, SourceName, Subjects,
    Timestamp, VisitorId,
};

use crate::columns::{date, moment, timestamp};
use crate::connect::{Store, bounded};
use crate::erase;
use crate::store::QUERY_MAX;

/// Every day of the archive is read once or twice; beyond this it has come to a stop.
const ERASE_MAX: Duration = Duration::from_hours(6);

impl Subjects for Store {
    async fn history(
        &self,
        profile: &ProfileId,
        after: Option<(Timestamp, Key)>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, Failure> {
        bounded!(self, QUERY_MAX, |connection| history(connection, profile, after, limit))
    }

    async fn erase_visitor(&self, visitor: VisitorId) -> Result<Erased, Failure> {
        bounded!(self, ERASE_MAX, |connection| erase::visitor(connection, visitor))
    }

    async fn erase_profile(&self, profile: &ProfileId) -> Result<Erased, Failure> {
        bounded!(self, ERASE_MAX, |connection| erase::profile(connection, profile))
    }
}

#[derive(FromRow)]
struct Change {
    occurred_at: OffsetDateTime,
    key: [u8; 16],
    source: String,
    identity: String,
    #[sqlx(rename = "type")]
    event_type: String,
    link_id: Option<String>,
    detail: String,
}

impl From<Change> for HistoryRow {
    fn from(row: Change) -> Self {
        Self {
            at: timestamp(row.occurred_at),
            key: Key(row.key),
            source: SourceName::trusted(&row.source),
            identity: Identity::trusted(&row.identity),
            event_type: EventType::trusted(&row.event_type),
            link_id: row.link_id.as_deref().map(LinkId::trusted),
            detail: row.detail,
        }
    }
}

/// Changes, latest first. `events_changes` has them in this order on each day; the day of `after`
/// spares looking into those that come later.
async fn history(
    connection: &mut PgConnection,
    profile: &ProfileId,
    after: Option<(Timestamp, Key)>,
    limit: u32,
) -> sqlx::Result<Vec<HistoryRow>> {
    let rows: Vec<Change> = sqlx::query_as(
        "select occurred_at, key, source, identity, type, link_id, detail from events
         where profile_id = $1
             and type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated')
             and ($2::date is null or day <= $2)
             and ($3::timestamptz is null or (occurred_at, key) < ($3, $4::bytea))
         order by occurred_at desc, key desc
         limit $5",
    )
    .bind(profile.as_str())
    .bind(after.map(|(at, _)| date(at.day())))
    .bind(after.map(|(at, _)| moment(at)))
    .bind(after.map(|(_, key)| key.0))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(HistoryRow::from).collect())
}
