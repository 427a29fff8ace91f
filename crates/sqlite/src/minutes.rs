//! Clicks and views by minute, of the last two hours: added up when recording, forgotten by upkeep.

use sqlx::{SqliteConnection, query};
use treehook_event::{Counts, Failure, LIVE_MINUTES, Minute, MinuteCount, ProfileId, Timestamp};

use crate::bulk;
use crate::classify::failure;
use crate::database::Database;
use crate::rows::{count, read};

/// Adds what a batch brings.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    rows: &[(&ProfileId, Minute, Counts)],
) -> Result<(), Failure> {
    bulk::execute(
        connection,
        "insert into profile_minutes (profile_id, minute, views, clicks)",
        "on conflict (profile_id, minute) do update set views = views + excluded.views, \
         clicks = clicks + excluded.clicks",
        rows,
        |values, (profile, minute, counts)| {
            values.push_bind(profile.as_str()).push_bind(minute.0);
            values.push_bind(counts.views.cast_signed()).push_bind(counts.clicks.cast_signed());
        },
    )
    .await
}

/// Those of a profile, in order.
pub(crate) async fn list(
    database: &Database,
    profile: &ProfileId,
    from: Minute,
    to: Minute,
) -> Result<Vec<MinuteCount>, Failure> {
    let rows = query(
        "select minute, views, clicks from profile_minutes \
         where profile_id = ?1 and minute >= ?2 and minute < ?3 order by minute",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    rows.iter()
        .map(|row| {
            let counts = Counts { views: count(row, "views")?, clicks: count(row, "clicks")? };
            Ok(MinuteCount { minute: Minute(read(row, "minute")?), counts })
        })
        .collect()
}

/// Forgets what nobody calls live any more.
pub(crate) async fn forget(database: &Database, now: Timestamp) -> Result<(), Failure> {
    query("delete from profile_minutes where minute <= ?1")
        .bind(now.minute().0 - LIVE_MINUTES)
        .execute(&mut *database.writer().await?)
        .await
        .map_err(failure)?;
    Ok(())
}
