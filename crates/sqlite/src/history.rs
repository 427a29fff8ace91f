//! What the archive tells of a profile's and its links' changes.

use sqlx::query;
use sqlx::sqlite::SqliteRow;
use treehook_event::{
    EventType, Failure, HistoryRow, Identity, Key, LinkId, ProfileId, SourceName, Timestamp,
};

use crate::classify::failure;
use crate::database::Database;
use crate::rows::{key, read, timestamp};

/// Changes of a profile and its links, latest first.
pub(crate) async fn history(
    database: &Database,
    profile: &ProfileId,
    after: Option<(Timestamp, Key)>,
    limit: u32,
) -> Result<Vec<HistoryRow>, Failure> {
    // Later than every event.
    let (at, key) =
        after.map_or((i64::MAX, Vec::new()), |(at, key)| (at.as_millis(), key.0.into()));
    // The types word for word as in the index, which is taken for no others.
    let rows = query(
        "select key, source, identity, type, occurred_at, link_id, detail from events \
         where profile_id = ?1 and (occurred_at, key) < (?2, ?3) \
         and type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated') \
         order by occurred_at desc, key desc limit ?4",
    )
    .bind(profile.as_str())
    .bind(at)
    .bind(key)
    .bind(i64::from(limit))
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    rows.iter().map(change).collect()
}

fn change(row: &SqliteRow) -> Result<HistoryRow, Failure> {
    Ok(HistoryRow {
        at: timestamp(row, "occurred_at")?,
        key: key(row)?,
        source: SourceName::trusted(read(row, "source")?),
        identity: Identity::trusted(read(row, "identity")?),
        event_type: EventType::trusted(read(row, "type")?),
        link_id: read::<Option<&str>>(row, "link_id")?.map(LinkId::trusted),
        detail: read(row, "detail")?,
    })
}
