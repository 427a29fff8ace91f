//! The queries that reports are made of.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{query, query_as};
use treehook_event::{
    AudienceCount, Day, Dimension, Failure, Hour, HourCount, LinkId, LinkState, LinkTotal,
    Milestone, MilestoneRow, ProfileId, ProfileSummary, Sketch, Tally, Timestamp, Union,
};

use crate::classify::{damaged, failure};
use crate::database::Database;
use crate::rows::{count, day, hour, key, link_id, profile_id, read, timestamp};
use crate::states::state;

/// What the pipeline has done.
pub(crate) async fn tally(database: &Database) -> Result<Tally, Failure> {
    let row = query(
        "select applied, duplicates, newest_event, \
         (select count(*) from dead_letters) as dead from tally",
    )
    .fetch_one(database.readers())
    .await
    .map_err(failure)?;
    Ok(Tally {
        applied: count(&row, "applied")?,
        duplicates: count(&row, "duplicates")?,
        dead: count(&row, "dead")?,
        newest_event: read::<Option<i64>>(&row, "newest_event")?.map(Timestamp::from_millis),
    })
}

/// Profiles in order of id.
pub(crate) async fn profiles(
    database: &Database,
    after: Option<&ProfileId>,
    limit: u32,
) -> Result<Vec<ProfileSummary>, Failure> {
    let rows = query(
        "select profile_id, state as value from profiles where profile_id > ?1 \
         order by profile_id limit ?2",
    )
    // No id is empty, so that every one comes after the empty text.
    .bind(after.map_or("", ProfileId::as_str))
    .bind(i64::from(limit))
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    rows.iter().map(summary).collect()
}

/// One profile.
pub(crate) async fn profile(
    database: &Database,
    profile: &ProfileId,
) -> Result<Option<ProfileSummary>, Failure> {
    let row = query("select profile_id, state as value from profiles where profile_id = ?1")
        .bind(profile.as_str())
        .fetch_optional(database.readers())
        .await
        .map_err(failure)?;
    row.as_ref().map(summary).transpose()
}

fn summary(row: &SqliteRow) -> Result<ProfileSummary, Failure> {
    Ok(ProfileSummary { profile_id: profile_id(row)?, state: state(row)? })
}

/// Views and clicks by hour.
pub(crate) async fn hours(
    database: &Database,
    profile: &ProfileId,
    from: Hour,
    to: Hour,
) -> Result<Vec<HourCount>, Failure> {
    let rows = query(
        "select hour, views, clicks from profile_hours \
         where profile_id = ?1 and hour >= ?2 and hour < ?3 order by hour",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    let hour_count = |row: &SqliteRow| {
        let (views, clicks) = (count(row, "views")?, count(row, "clicks")?);
        Ok(HourCount { hour: hour(row)?, views, clicks })
    };
    rows.iter().map(hour_count).collect()
}

/// Every link that is known or was clicked: whole days by the day, and by the hour what is left before
/// and after them.
pub(crate) async fn link_totals(
    database: &Database,
    profile: &ProfileId,
    from: Hour,
    to: Hour,
) -> Result<Vec<LinkTotal>, Failure> {
    let days = Day::whole_within(from, to);
    let rows = query(
        "select link_id, sum(clicks) as clicks, max(state) as value from ( \
         select link_id, clicks, null as state from link_hours \
         where profile_id = ?1 and hour >= ?2 and hour < min(?4 * 24, ?3) \
         union all select link_id, clicks, null from link_days \
         where profile_id = ?1 and day >= ?4 and day < ?5 \
         union all select link_id, clicks, null from link_hours \
         where profile_id = ?1 and hour >= ?5 * 24 and hour < ?3 \
         union all select link_id, 0, state from links where profile_id = ?1) \
         group by link_id order by link_id",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .bind(days.start.0)
    .bind(days.end.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    let total = |row: &SqliteRow| {
        let is_known = read::<Option<&str>>(row, "value")?.is_some();
        let state = if is_known { state(row)? } else { LinkState::default() };
        Ok(LinkTotal { link_id: link_id(row)?, clicks: count(row, "clicks")?, state })
    };
    rows.iter().map(total).collect()
}

/// One link's clicks by hour.
pub(crate) async fn link_hours(
    database: &Database,
    profile: &ProfileId,
    link: &LinkId,
    from: Hour,
    to: Hour,
) -> Result<Vec<(Hour, u64)>, Failure> {
    let rows = query(
        "select hour, clicks from link_hours \
         where profile_id = ?1 and link_id = ?2 and hour >= ?3 and hour < ?4 order by hour",
    )
    .bind(profile.as_str())
    .bind(link.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    rows.iter().map(|row| Ok((hour(row)?, count(row, "clicks")?))).collect()
}

/// One value's clicks by day.
pub(crate) async fn audience_days(
    database: &Database,
    profile: &ProfileId,
    (dimension, value): (Dimension, &str),
    from: Day,
    to: Day,
) -> Result<Vec<(Day, u64)>, Failure> {
    let rows = query(
        "select day, clicks from audience where profile_id = ?1 and dimension = ?2 \
         and value = ?3 and day >= ?4 and day < ?5 order by day",
    )
    .bind(profile.as_str())
    .bind(dimension.as_str())
    .bind(value)
    .bind(from.0)
    .bind(to.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    rows.iter().map(|row| Ok((day(row)?, count(row, "clicks")?))).collect()
}

/// A profile's visitors over days.
pub(crate) async fn profile_visitors(
    database: &Database,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> Result<Sketch, Failure> {
    let mut rows = query(
        "select sketch as value from profile_visitors \
         where profile_id = ?1 and day >= ?2 and day < ?3",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch(database.readers());
    let mut visitors = Union::of_profile();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        visitors.add(read(&row, "value")?).map_err(|_| damaged("a sketch of visitors"))?;
    }
    Ok(visitors.finish())
}

/// Each link's visitors over days.
pub(crate) async fn link_visitors(
    database: &Database,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> Result<Vec<(LinkId, Sketch)>, Failure> {
    let mut rows = query(
        "select link_id, sketch as value from link_visitors \
         where profile_id = ?1 and day >= ?2 and day < ?3",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch(database.readers());
    // Put in order here: SQLite would copy every sketch to sort them.
    let mut links: BTreeMap<LinkId, Union> = BTreeMap::new();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let visitors = links.entry(link_id(&row)?).or_insert_with(Union::of_link);
        visitors.add(read(&row, "value")?).map_err(|_| damaged("a sketch of visitors"))?;
    }
    Ok(links.into_iter().map(|(link, visitors)| (link, visitors.finish())).collect())
}

/// Clicks by country, referrer and device.
pub(crate) async fn audience(
    database: &Database,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> Result<Vec<AudienceCount>, Failure> {
    let rows = query(
        "select dimension, value, sum(clicks) as clicks from audience \
         where profile_id = ?1 and day >= ?2 and day < ?3 \
         group by dimension, value order by dimension, value",
    )
    .bind(profile.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    let counted = |row: &SqliteRow| {
        let dimension = Dimension::named(read(row, "dimension")?)
            .ok_or_else(|| damaged("a dimension of the audience"))?;
        let (value, clicks) = (read(row, "value")?, count(row, "clicks")?);
        Ok(AudienceCount { dimension, value, clicks })
    };
    rows.iter().map(counted).collect()
}

/// Milestones, latest first.
pub(crate) async fn milestones(
    database: &Database,
    profile: &ProfileId,
    limit: u32,
) -> Result<Vec<MilestoneRow>, Failure> {
    let rows = query(
        "select key, link_id, metric, threshold, value, at from milestones \
         where profile_id = ?1 order by at desc, key limit ?2",
    )
    .bind(profile.as_str())
    .bind(i64::from(limit))
    .fetch_all(database.readers())
    .await
    .map_err(failure)?;
    let milestone = |row: &SqliteRow| {
        let milestone = Milestone {
            profile_id: profile.clone(),
            link_id: read::<Option<&str>>(row, "link_id")?.map(LinkId::trusted),
            metric: read(row, "metric")?,
            threshold: read(row, "threshold")?,
            value: read(row, "value")?,
        };
        Ok(MilestoneRow { key: key(row)?, milestone, at: timestamp(row, "at")? })
    };
    rows.iter().map(milestone).collect()
}

/// Whether the database answers.
pub(crate) async fn ping(database: &Database) -> Result<(), Failure> {
    // A table, not a constant: SQLite answers that one without looking at the file.
    let _: (i64,) = query_as("select count(*) from tally")
        .fetch_one(database.readers())
        .await
        .map_err(failure)?;
    Ok(())
}
