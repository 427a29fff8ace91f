//! The queries that reports are made of. Each reads one range of one index.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{FromRow, PgConnection, Row as _};
use time::OffsetDateTime;
use treehook_event::{
    AudienceCount, Counts, Day, Dimension, Hour, HourCount, Key, LinkId, LinkState, LinkTotal,
    Milestone, MilestoneRow, Minute, MinuteCount, ProfileId, ProfileState, ProfileSummary, Sketch,
    Union,
};

use crate::classify::Unreadable;
use crate::columns::{count, date, day, hour_start, minute_start, timestamp};

/// Profiles in order of id.
pub(crate) async fn profiles(
    connection: &mut PgConnection,
    after: Option<&ProfileId>,
    limit: u32,
) -> sqlx::Result<Vec<ProfileSummary>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select profile_id, state::text from profiles where profile_id > $1
         order by profile_id limit $2",
    )
    // No id is empty.
    .bind(after.map_or("", |id| id.as_str()))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|(id, state)| summary(id, state)).collect()
}

/// One profile.
pub(crate) async fn profile(
    connection: &mut PgConnection,
    profile: &ProfileId,
) -> sqlx::Result<Option<ProfileSummary>> {
    let row: Option<(String, String)> =
        sqlx::query_as("select profile_id, state::text from profiles where profile_id = $1")
            .bind(profile.as_str())
            .fetch_optional(connection)
            .await?;
    row.map(|(id, state)| summary(&id, &state)).transpose()
}

fn summary(id: &str, state: &str) -> sqlx::Result<ProfileSummary> {
    let state: ProfileState =
        serde_json::from_str(state).map_err(|_| Unreadable { table: "profiles" })?;
    Ok(ProfileSummary { profile_id: ProfileId::trusted(id), state })
}

/// Views and clicks by hour.
pub(crate) async fn hours(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Hour,
    to: Hour,
) -> sqlx::Result<Vec<HourCount>> {
    let rows: Vec<(OffsetDateTime, i64, i64)> = sqlx::query_as(
        "select hour, views, clicks from profile_hours
         where profile_id = $1 and hour >= $2 and hour < $3 order by hour",
    )
    .bind(profile.as_str())
    .bind(hour_start(from))
    .bind(hour_start(to))
    .fetch_all(connection)
    .await?;
    let counted = rows.into_iter().map(|(hour, views, clicks)| HourCount {
        hour: timestamp(hour).hour(),
        views: count(views),
        clicks: count(clicks),
    });
    Ok(counted.collect())
}

/// Views and clicks by minute.
pub(crate) async fn minutes(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Minute,
    to: Minute,
) -> sqlx::Result<Vec<MinuteCount>> {
    let rows: Vec<(OffsetDateTime, i64, i64)> = sqlx::query_as(
        "select minute, views, clicks from profile_minutes
         where profile_id = $1 and minute >= $2 and minute < $3 order by minute",
    )
    .bind(profile.as_str())
    .bind(minute_start(from))
    .bind(minute_start(to))
    .fetch_all(connection)
    .await?;
    let counted = rows.into_iter().map(|(minute, views, clicks)| MinuteCount {
        minute: timestamp(minute).minute(),
        counts: Counts { views: count(views), clicks: count(clicks) },
    });
    Ok(counted.collect())
}

/// Links that are known or were clicked, with their clicks: whole days by the day, and by the hour
/// what is left before and after them.
pub(crate) async fn link_totals(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Hour,
    to: Hour,
) -> sqlx::Result<Vec<LinkTotal>> {
    let days = Day::whole_within(from, to);
    let rows: Vec<(String, i64, Option<String>)> = sqlx::query_as(
        "select link_id, coalesce(clicked.clicks, 0), known.state
         from (select link_id, state::text from links where profile_id = $1) known
         full join (
             select link_id, sum(clicks)::bigint as clicks from (
                 select link_id, clicks from link_hours
                 where profile_id = $1 and hour >= $2 and hour < $3
                 union all
                 select link_id, clicks from link_days
                 where profile_id = $1 and day >= $4 and day < $5
                 union all
                 select link_id, clicks from link_hours
                 where profile_id = $1 and hour >= $6 and hour < $7
             ) parts group by link_id
         ) clicked using (link_id)
         order by link_id",
    )
    .bind(profile.as_str())
    .bind(hour_start(from))
    .bind(hour_start(days.start.first_hour().min(to)))
    .bind(date(days.start))
    .bind(date(days.end))
    .bind(hour_start(days.end.first_hour()))
    .bind(hour_start(to))
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(link, clicks, state)| {
            let state = match state {
                Some(state) => {
                    serde_json::from_str(&state).map_err(|_| Unreadable { table: "links" })?
                }
                None => LinkState::default(),
            };
            Ok(LinkTotal { link_id: LinkId::trusted(&link), clicks: count(clicks), state })
        })
        .collect()
}

/// One link's clicks by hour.
pub(crate) async fn link_hours(
    connection: &mut PgConnection,
    profile: &ProfileId,
    link: &LinkId,
    from: Hour,
    to: Hour,
) -> sqlx::Result<Vec<(Hour, u64)>> {
    let rows: Vec<(OffsetDateTime, i64)> = sqlx::query_as(
        "select hour, clicks from link_hours
         where profile_id = $1 and link_id = $2 and hour >= $3 and hour < $4 order by hour",
    )
    .bind(profile.as_str())
    .bind(link.as_str())
    .bind(hour_start(from))
    .bind(hour_start(to))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(hour, clicks)| (timestamp(hour).hour(), count(clicks))).collect())
}

/// One value's clicks by day.
pub(crate) async fn audience_days(
    connection: &mut PgConnection,
    profile: &ProfileId,
    (dimension, value): (Dimension, &str),
    from: Day,
    to: Day,
) -> sqlx::Result<Vec<(Day, u64)>> {
    let rows: Vec<(time::Date, i64)> = sqlx::query_as(
        "select day, clicks from audience where profile_id = $1 and dimension = $2
         and value = $3 and day >= $4 and day < $5 order by day",
    )
    .bind(profile.as_str())
    .bind(dimension.as_str())
    .bind(value)
    .bind(date(from))
    .bind(date(to))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(date, clicks)| (day(date), count(clicks))).collect())
}

/// A profile's visitors over days.
pub(crate) async fn profile_visitors(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> sqlx::Result<Sketch> {
    let mut rows = sqlx::query(
        "select sketch from profile_visitors where profile_id = $1 and day >= $2 and day < $3",
    )
    .bind(profile.as_str())
    .bind(date(from))
    .bind(date(to))
    .fetch(connection);
    let mut visitors = Union::of_profile();
    while let Some(row) = rows.try_next().await? {
        add(&mut visitors, row.try_get("sketch")?, "profile_visitors")?;
    }
    Ok(visitors.finish())
}

/// Each link's visitors over days, in order of link.
pub(crate) async fn link_visitors(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> sqlx::Result<Vec<(LinkId, Sketch)>> {
    let mut rows = sqlx::query(
        "select link_id, sketch from link_visitors
         where profile_id = $1 and day >= $2 and day < $3",
    )
    .bind(profile.as_str())
    .bind(date(from))
    .bind(date(to))
    .fetch(connection);
    let mut links: BTreeMap<LinkId, Union> = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let link = LinkId::trusted(row.try_get("link_id")?);
        let visitors = links.entry(link).or_insert_with(Union::of_link);
        add(visitors, row.try_get("sketch")?, "link_visitors")?;
    }
    Ok(links.into_iter().map(|(link, visitors)| (link, visitors.finish())).collect())
}

fn add(visitors: &mut Union, sketch: &[u8], table: &'static str) -> sqlx::Result<()> {
    visitors.add(sketch).map_err(|_| Unreadable { table }.into())
}

/// Clicks by country, referrer and device over days.
pub(crate) async fn audience(
    connection: &mut PgConnection,
    profile: &ProfileId,
    from: Day,
    to: Day,
) -> sqlx::Result<Vec<AudienceCount>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select dimension, value, sum(clicks)::bigint from audience
         where profile_id = $1 and day >= $2 and day < $3
         group by dimension, value order by dimension, value",
    )
    .bind(profile.as_str())
    .bind(date(from))
    .bind(date(to))
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(dimension, value, clicks)| {
            let dimension = Dimension::named(&dimension).ok_or(Unreadable { table: "audience" })?;
            Ok(AudienceCount { dimension, value, clicks: count(clicks) })
        })
        .collect()
}

#[derive(FromRow)]
struct MilestoneColumns {
    key: [u8; 16],
    profile_id: String,
    link_id: Option<String>,
    metric: Option<String>,
    threshold: Option<i64>,
    value: Option<i64>,
    at: OffsetDateTime,
}

impl From<MilestoneColumns> for MilestoneRow {
    fn from(row: MilestoneColumns) -> Self {
        Self {
            key: Key(row.key),
            milestone: Milestone {
                profile_id: ProfileId::trusted(&row.profile_id),
                link_id: row.link_id.as_deref().map(LinkId::trusted),
                metric: row.metric,
                threshold: row.threshold,
                value: row.value,
            },
            at: timestamp(row.at),
        }
    }
}

/// Milestones, latest first.
pub(crate) async fn milestones(
    connection: &mut PgConnection,
    profile: &ProfileId,
    limit: u32,
) -> sqlx::Result<Vec<MilestoneRow>> {
    let rows: Vec<MilestoneColumns> = sqlx::query_as(
        "select key, profile_id, link_id, metric, threshold, value, at from milestones
         where profile_id = $1 order by at desc, key limit $2",
    )
    .bind(profile.as_str())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(MilestoneRow::from).collect())
}
