//! Clicks and views by hour, clicks by link and day and by audience: added up when recording, recounted by `verify`.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, query};
use treehook_event::{Day, Difference, Failure, Rollup};

use crate::bulk;
use crate::classify::failure;
use crate::rows::count;
use crate::verify::Findings;

/// Adds what a batch comes to.
pub(crate) async fn add(connection: &mut SqliteConnection, rollup: &Rollup) -> Result<(), Failure> {
    let rows: Vec<_> = rollup.link_hours().collect();
    bulk::execute(
        connection,
        "insert into link_hours (profile_id, link_id, hour, clicks)",
        "on conflict (profile_id, hour, link_id) do update set clicks = clicks + excluded.clicks",
        &rows,
        |values, (profile, link, hour, clicks)| {
            values.push_bind(profile.as_str()).push_bind(link.as_str());
            values.push_bind(hour.0).push_bind(clicks.cast_signed());
        },
    )
    .await?;
    bulk::execute(
        connection,
        "insert into link_days (profile_id, link_id, day, clicks)",
        "on conflict (profile_id, day, link_id) do update set clicks = clicks + excluded.clicks",
        &rollup.link_days(),
        |values, (profile, link, day, clicks)| {
            values.push_bind(profile.as_str()).push_bind(link.as_str());
            values.push_bind(day.0).push_bind(clicks.cast_signed());
        },
    )
    .await?;
    let rows: Vec<_> = rollup.profile_hours().collect();
    bulk::execute(
        connection,
        "insert into profile_hours (profile_id, hour, views, clicks)",
        "on conflict (profile_id, hour) do update set views = views + excluded.views, \
         clicks = clicks + excluded.clicks",
        &rows,
        |values, (profile, hour, counts)| {
            values.push_bind(profile.as_str()).push_bind(hour.0);
            values.push_bind(counts.views.cast_signed()).push_bind(counts.clicks.cast_signed());
        },
    )
    .await?;
    let rows: Vec<_> = rollup.audience().collect();
    bulk::execute(
        connection,
        "insert into audience (profile_id, day, dimension, value, clicks)",
        "on conflict (profile_id, day, dimension, value) do update set \
         clicks = clicks + excluded.clicks",
        &rows,
        |values, (profile, day, dimension, value, clicks)| {
            values.push_bind(profile.as_str()).push_bind(day.0).push_bind(dimension.as_str());
            values.push_bind(*value).push_bind(clicks.cast_signed());
        },
    )
    .await
}

/// How a table of counts is recounted over one day, `?1`. What the archive says and what is stored
/// are both selected as `keys`, `views` and `clicks`.
struct Recount {
    rollup: &'static str,
    keys: &'static str,
    /// The key, for people.
    label: &'static str,
    archive: &'static str,
    stored: &'static str,
    clear: &'static str,
    /// What is rebuilt from `archive`.
    columns: &'static str,
}

// An event's hour is counted from its day's first: SQLite divides towards zero, so that hours before
// 1970 would come out one too late.
const RECOUNTS: [Recount; 4] = [
    Recount {
        rollup: "link_hours",
        keys: "profile_id, link_id, hour",
        label: "profile_id || '/' || link_id || strftime(' %Y-%m-%dT%H:00Z', hour * 3600, 'unixepoch')",
        archive: "select profile_id, link_id, \
             day * 24 + (occurred_at - day * 86400000) / 3600000 as hour, \
             0 as views, count(*) as clicks \
             from events where day = ?1 and kind = 'click' group by 1, 2, 3",
        stored: "select profile_id, link_id, hour, 0 as views, clicks \
             from link_hours where hour >= ?1 * 24 and hour < (?1 + 1) * 24",
        clear: "delete from link_hours where hour >= ?1 * 24 and hour < (?1 + 1) * 24",
        columns: "profile_id, link_id, hour, clicks",
    },
    Recount {
        rollup: "link_days",
        keys: "profile_id, link_id, day",
        label: "profile_id || '/' || link_id || strftime(' %Y-%m-%d', day * 86400, 'unixepoch')",
        archive: "select profile_id, link_id, day, 0 as views, count(*) as clicks \
             from events where day = ?1 and kind = 'click' group by 1, 2",
        stored: "select profile_id, link_id, day, 0 as views, clicks \
             from link_days where day = ?1",
        clear: "delete from link_days where day = ?1",
        columns: "profile_id, link_id, day, clicks",
    },
    Recount {
        rollup: "profile_hours",
        keys: "profile_id, hour",
        label: "profile_id || strftime(' %Y-%m-%dT%H:00Z', hour * 3600, 'unixepoch')",
        archive: "select profile_id, day * 24 + (occurred_at - day * 86400000) / 3600000 as hour, \
             sum(kind = 'view') as views, sum(kind = 'click') as clicks \
             from events where day = ?1 and kind is not null group by 1, 2",
        stored: "select profile_id, hour, views, clicks \
             from profile_hours where hour >= ?1 * 24 and hour < (?1 + 1) * 24",
        clear: "delete from profile_hours where hour >= ?1 * 24 and hour < (?1 + 1) * 24",
        columns: "profile_id, hour, views, clicks",
    },
    Recount {
        rollup: "audience",
        keys: "profile_id, day, dimension, value",
        label: "profile_id || strftime(' %Y-%m-%d ', day * 86400, 'unixepoch') || dimension || ' ' || value",
        archive: "select profile_id, day, 'country' as dimension, country as value, \
             0 as views, count(*) as clicks \
             from events where day = ?1 and kind = 'click' group by 1, 4 \
             union all select profile_id, day, 'device', device, 0, count(*) \
             from events where day = ?1 and kind = 'click' group by 1, 4 \
             union all select profile_id, day, 'referrer', referrer, 0, count(*) \
             from events where day = ?1 and kind = 'click' group by 1, 4",
        stored: "select profile_id, day, dimension, value, 0 as views, clicks \
             from audience where day = ?1",
        clear: "delete from audience where day = ?1",
        columns: "profile_id, day, dimension, value, clicks",
    },
];

/// Compares a day of every table with the archive, both ways; says whether anything differs.
pub(crate) async fn compare(
    connection: &mut SqliteConnection,
    day: Day,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    let mut differs = false;
    for recount in &RECOUNTS {
        let Recount { rollup, keys, label, archive, stored, .. } = recount;
        // Not a full join, for which SQLite compares every row with every other.
        let sql = format!(
            "select {label} as label, sum(archive_views) as archive_views, \
             sum(archive_clicks) as archive_clicks, sum(stored_views) as stored_views, \
             sum(stored_clicks) as stored_clicks from ( \
             select {keys}, views as archive_views, clicks as archive_clicks, \
             0 as stored_views, 0 as stored_clicks from ({archive}) \
             union all select {keys}, 0, 0, views, clicks from ({stored})) \
             group by {keys} \
             having sum(archive_views) <> sum(stored_views) \
             or sum(archive_clicks) <> sum(stored_clicks) limit ?2"
        );
        // One at least, so that it is known whether to repair.
        let limit = i64::try_from(findings.room().max(1)).unwrap_or(i64::MAX);
        let rows = query(AssertSqlSafe(sql)).bind(day.0).bind(limit).fetch_all(&mut *connection);
        for row in rows.await.map_err(failure)? {
            differs = true;
            findings.add(Difference {
                rollup,
                key: row.try_get("label").map_err(failure)?,
                archive: said(count(&row, "archive_views")?, count(&row, "archive_clicks")?),
                stored: said(
                    row.try_get::<i64, _>("stored_views").map_err(failure)?,
                    row.try_get::<i64, _>("stored_clicks").map_err(failure)?,
                ),
            });
        }
    }
    Ok(differs)
}

fn said(views: impl std::fmt::Display, clicks: impl std::fmt::Display) -> String {
    format!("{clicks} clicks, {views} views")
}

/// Writes a day of every table anew from the archive.
pub(crate) async fn rebuild(connection: &mut SqliteConnection, day: Day) -> Result<(), Failure> {
    for Recount { rollup, archive, clear, columns, .. } in &RECOUNTS {
        query(*clear).bind(day.0).execute(&mut *connection).await.map_err(failure)?;
        let sql = format!("insert into {rollup} ({columns}) select {columns} from ({archive})");
        let statement = query(AssertSqlSafe(sql)).bind(day.0);
        statement.execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(())
}
