//! A profile: its archived events emptied down to what deduplication needs, and everything that was
//! derived from them dropped.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};
use time::Date;
use treehook_event::{Day, ProfileId, profile_named_in};

use super::Step;
use crate::columns::{count, date, day as day_of};

/// Events rewritten in one transaction: a second or two of writing.
const EVENTS_MAX: i64 = 10_000;

/// Leaves of an event what makes a retried delivery a duplicate.
const EMPTY: &str = "update events set identity = null, profile_id = null, link_id = null,
     kind = null, country = null, referrer = null, device = null, visitor = null, detail = null,
     payload = '{}'";

/// What stands in a day of a profile, in the order in which workers visit it: rows are locked in order
/// of key, so that nobody waits in a circle.
const DAILY: [&str; 6] = [
    "with gone as (
         select profile_id, hour, link_id from link_hours
         where profile_id = $1 and hour >= $2::timestamp at time zone 'UTC'
             and hour < ($2 + 1)::timestamp at time zone 'UTC'
         order by profile_id, hour, link_id for update
     )
     delete from link_hours t using gone g
     where t.profile_id = g.profile_id and t.hour = g.hour and t.link_id = g.link_id",
    "with gone as (
         select profile_id, day, link_id from link_days
         where profile_id = $1 and day = $2
         order by profile_id, day, link_id for update
     )
     delete from link_days t using gone g
     where t.profile_id = g.profile_id and t.day = g.day and t.link_id = g.link_id",
    "with gone as (
         select profile_id, hour from profile_hours
         where profile_id = $1 and hour >= $2::timestamp at time zone 'UTC'
             and hour < ($2 + 1)::timestamp at time zone 'UTC'
         order by profile_id, hour for update
     )
     delete from profile_hours t using gone g
     where t.profile_id = g.profile_id and t.hour = g.hour",
    "with gone as (
         select profile_id, minute from profile_minutes
         where profile_id = $1 and minute >= $2::timestamp at time zone 'UTC'
             and minute < ($2 + 1)::timestamp at time zone 'UTC'
         order by profile_id, minute for update
     )
     delete from profile_minutes t using gone g
     where t.profile_id = g.profile_id and t.minute = g.minute",
    "with gone as (
         select profile_id, day, dimension, value from audience
         where profile_id = $1 and day = $2
         order by profile_id, day, dimension, value for update
     )
     delete from audience t using gone g
     where t.profile_id = g.profile_id and t.day = g.day
         and t.dimension = g.dimension and t.value = g.value",
    "delete from milestones
     where profile_id = $1 and at >= $2::timestamp at time zone 'UTC'
         and at < ($2 + 1)::timestamp at time zone 'UTC'",
];

/// The sketches among it: they come after, and are counted.
const SKETCHES: [&str; 2] = [
    "delete from profile_visitors where profile_id = $1 and day = $2",
    "with gone as (
         select profile_id, day, link_id from link_visitors
         where profile_id = $1 and day = $2
         order by profile_id, day, link_id for update
     )
     delete from link_visitors t using gone g
     where t.profile_id = g.profile_id and t.day = g.day and t.link_id = g.link_id",
];

/// Forgets the profile in some of the events of a day, and with the last of them in its rollups.
pub(super) async fn step(
    connection: &mut PgConnection,
    profile: &ProfileId,
    day: Day,
) -> sqlx::Result<Step> {
    let mut events = empty(connection, profile, day).await?;
    let finished = events < count(EVENTS_MAX);
    let mut sketches = 0;
    if finished {
        events += empty_unknown(connection, profile, day).await?;
        sketches = drop_rollups(connection, profile, day).await?;
    }
    Ok(Step { events, sketches, profiles: BTreeSet::new(), finished })
}

/// Empties archived events. What stays makes a retried delivery a duplicate, and says when and from
/// where it came.
async fn empty(connection: &mut PgConnection, profile: &ProfileId, day: Day) -> sqlx::Result<u64> {
    let emptied = sqlx::query(AssertSqlSafe(format!(
        "{EMPTY} where day = $1 and profile_id = $2 and key = any(array(
             select key from events where day = $1 and profile_id = $2 limit $3
         ))"
    )))
    .bind(date(day))
    .bind(profile.as_str())
    .bind(EVENTS_MAX)
    .execute(connection)
    .await?;
    Ok(emptied.rows_affected())
}

/// Empties events of types that nobody knows: they have no column for a profile, but their payload
/// names it.
async fn empty_unknown(
    connection: &mut PgConnection,
    profile: &ProfileId,
    day: Day,
) -> sqlx::Result<u64> {
    // As it stands in JSON, between its quotes if it has any.
    let quoted = serde_json::Value::from(profile.as_str()).to_string();
    let mut rows = sqlx::query_as::<_, (Vec<u8>, String)>(
        "select key, payload from events
         where day = $1 and profile_id is null and strpos(payload, $2) > 0",
    )
    .bind(date(day))
    .bind(quoted.trim_matches('"'))
    .fetch(&mut *connection);
    let mut theirs = Vec::new();
    while let Some((key, payload)) = rows.try_next().await? {
        if profile_named_in(&payload).as_ref() == Some(profile) {
            theirs.push(key);
        }
    }
    drop(rows);
    if theirs.is_empty() {
        return Ok(0);
    }
    let emptied = sqlx::query(AssertSqlSafe(format!("{EMPTY} where day = $1 and key = any($2)")));
    let emptied = emptied.bind(date(day)).bind(theirs).execute(connection).await?;
    Ok(emptied.rows_affected())
}

/// Drops what was counted on a day; says how many sketches.
async fn drop_rollups(
    connection: &mut PgConnection,
    profile: &ProfileId,
    day: Day,
) -> sqlx::Result<u64> {
    for statement in DAILY {
        let dropping = sqlx::query(statement).bind(profile.as_str()).bind(date(day));
        dropping.execute(&mut *connection).await?;
    }
    let mut sketches = 0;
    for statement in SKETCHES {
        let dropping = sqlx::query(statement).bind(profile.as_str()).bind(date(day));
        sketches += dropping.execute(&mut *connection).await?.rows_affected();
    }
    Ok(sketches)
}

/// The days on which anything still tells of the profile. Every archived event that names it has left
/// a mark that is found by an index: a visit its hour, a milestone its row, a change itself.
pub(super) async fn days_left(
    connection: &mut PgConnection,
    profile: &ProfileId,
) -> sqlx::Result<BTreeSet<Day>> {
    let days: Vec<Date> = sqlx::query_scalar(
        "select (hour at time zone 'UTC')::date from profile_hours where profile_id = $1
         union
         select (hour at time zone 'UTC')::date from link_hours where profile_id = $1
         union
         select day from link_days where profile_id = $1
         union
         select day from audience where profile_id = $1
         union
         select day from profile_visitors where profile_id = $1
         union
         select day from link_visitors where profile_id = $1
         union
         select (at at time zone 'UTC')::date from milestones where profile_id = $1
         union
         select day from events where profile_id = $1
             and type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated')",
    )
    .bind(profile.as_str())
    .fetch_all(connection)
    .await?;
    Ok(days.into_iter().map(day_of).collect())
}

/// Drops what the profile and its links are now.
pub(super) async fn drop_projections(
    connection: &mut PgConnection,
    profile: &ProfileId,
) -> sqlx::Result<()> {
    for statement in
        ["delete from profiles where profile_id = $1", "delete from links where profile_id = $1"]
    {
        sqlx::query(statement).bind(profile.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}
