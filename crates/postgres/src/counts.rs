//! Rollups that are added up: clicks and views by hour and by minute, clicks by link and day and by audience, and the milestones.

use sqlx::PgConnection;
use treehook_event::{LIVE_MINUTES, LinkId, Minute, Rollup, Timestamp};

use crate::columns::{bigint, date, hour_start, minute_start, moment};

/// Adds what batches bring, in a transaction that takes row by row. Rows that are there are updated first, which takes half
/// of what an insert takes that finds them there.
pub(crate) async fn add(
    connection: &mut PgConnection,
    rollup: &Rollup,
    now: Timestamp,
) -> sqlx::Result<()> {
    add_link_hours(connection, rollup).await?;
    add_link_days(connection, rollup).await?;
    add_profile_hours(connection, rollup).await?;
    add_profile_minutes(connection, rollup, now).await?;
    add_audience(connection, rollup).await?;
    add_milestones(connection, rollup).await
}

async fn add_link_hours(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let rows: Vec<_> = rollup.link_hours().collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with n as materialized (
             select profile_id, hour, link_id, clicks, place
             from unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[])
                 with ordinality as n (profile_id, hour, link_id, clicks, place)
             order by profile_id collate "C", hour, link_id collate "C"
         ), there as (
             update link_hours t set clicks = t.clicks + n.clicks from n
             where t.profile_id = n.profile_id and t.hour = n.hour and t.link_id = n.link_id
             returning n.place
         )
         insert into link_hours as t (profile_id, hour, link_id, clicks)
         select profile_id, hour, link_id, clicks from n where place not in (select place from there)
         on conflict (profile_id, hour, link_id)
         do update set clicks = t.clicks + excluded.clicks"#,
    )
    .bind(rows.iter().map(|(profile, ..)| profile.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, hour, _)| hour_start(*hour)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, link, ..)| link.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., clicks)| bigint(*clicks)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_link_days(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let rows = rollup.link_days();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with n as materialized (
             select profile_id, day, link_id, clicks, place
             from unnest($1::text[], $2::date[], $3::text[], $4::bigint[])
                 with ordinality as n (profile_id, day, link_id, clicks, place)
             order by profile_id collate "C", day, link_id collate "C"
         ), there as (
             update link_days t set clicks = t.clicks + n.clicks from n
             where t.profile_id = n.profile_id and t.day = n.day and t.link_id = n.link_id
             returning n.place
         )
         insert into link_days as t (profile_id, day, link_id, clicks)
         select profile_id, day, link_id, clicks from n where place not in (select place from there)
         on conflict (profile_id, day, link_id)
         do update set clicks = t.clicks + excluded.clicks"#,
    )
    .bind(rows.iter().map(|(profile, ..)| profile.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, day, _)| date(*day)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, link, ..)| link.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., clicks)| bigint(*clicks)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_profile_hours(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let rows: Vec<_> = rollup.profile_hours().collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with n as materialized (
             select profile_id, hour, views, clicks, place
             from unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[])
                 with ordinality as n (profile_id, hour, views, clicks, place)
             order by profile_id collate "C", hour
         ), there as (
             update profile_hours t set views = t.views + n.views, clicks = t.clicks + n.clicks from n
             where t.profile_id = n.profile_id and t.hour = n.hour
             returning n.place
         )
         insert into profile_hours as t (profile_id, hour, views, clicks)
         select profile_id, hour, views, clicks from n where place not in (select place from there)
         on conflict (profile_id, hour)
         do update set views = t.views + excluded.views, clicks = t.clicks + excluded.clicks"#,
    )
    .bind(rows.iter().map(|(profile, ..)| profile.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, hour, _)| hour_start(*hour)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., counts)| bigint(counts.views)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., counts)| bigint(counts.clicks)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_profile_minutes(
    connection: &mut PgConnection,
    rollup: &Rollup,
    now: Timestamp,
) -> sqlx::Result<()> {
    let rows = rollup.live_minutes(now);
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with n as materialized (
             select profile_id, minute, views, clicks, place
             from unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[])
                 with ordinality as n (profile_id, minute, views, clicks, place)
             order by profile_id collate "C", minute
         ), there as (
             update profile_minutes t set views = t.views + n.views, clicks = t.clicks + n.clicks from n
             where t.profile_id = n.profile_id and t.minute = n.minute
             returning n.place
         )
         insert into profile_minutes as t (profile_id, minute, views, clicks)
         select profile_id, minute, views, clicks from n where place not in (select place from there)
         on conflict (profile_id, minute)
         do update set views = t.views + excluded.views, clicks = t.clicks + excluded.clicks"#,
    )
    .bind(rows.iter().map(|(profile, ..)| profile.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, minute, _)| minute_start(*minute)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., counts)| bigint(counts.views)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., counts)| bigint(counts.clicks)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets minutes that nobody calls live any more. Rows that a worker holds just now are left for
/// the next round: workers lock in order of key, and this does not.
pub(crate) async fn forget_minutes(
    connection: &mut PgConnection,
    now: Timestamp,
) -> sqlx::Result<()> {
    let oldest = Minute(now.minute().0 - LIVE_MINUTES);
    sqlx::query(
        "delete from profile_minutes t using (
             select profile_id, minute from profile_minutes where minute <= $1
             for update skip locked
         ) old where t.profile_id = old.profile_id and t.minute = old.minute",
    )
    .bind(minute_start(oldest))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_audience(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let rows: Vec<_> = rollup.audience().collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with n as materialized (
             select profile_id, day, dimension, value, clicks, place
             from unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::bigint[])
                 with ordinality as n (profile_id, day, dimension, value, clicks, place)
             order by profile_id collate "C", day, dimension collate "C", value collate "C"
         ), there as (
             update audience t set clicks = t.clicks + n.clicks from n
             where t.profile_id = n.profile_id and t.day = n.day and t.dimension = n.dimension and t.value = n.value
             returning n.place
         )
         insert into audience as t (profile_id, day, dimension, value, clicks)
         select profile_id, day, dimension, value, clicks from n where place not in (select place from there)
         on conflict (profile_id, day, dimension, value)
         do update set clicks = t.clicks + excluded.clicks"#,
    )
    .bind(rows.iter().map(|(profile, ..)| profile.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, day, ..)| date(*day)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, dimension, ..)| dimension.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., value, _)| *value).collect::<Vec<_>>())
    .bind(rows.iter().map(|(.., clicks)| bigint(*clicks)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_milestones(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let rows = &rollup.milestones;
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into milestones (key, profile_id, link_id, metric, threshold, value, at)
         select key, profile_id, link_id, metric, threshold, value, at
         from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
             $7::timestamptz[]) as n (key, profile_id, link_id, metric, threshold, value, at)
         order by key
         on conflict do nothing",
    )
    .bind(rows.iter().map(|row| row.key.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.milestone.profile_id.as_str()).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.milestone.link_id.as_ref().map(LinkId::as_str))
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|row| row.milestone.metric.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.milestone.threshold).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.milestone.value).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| moment(row.at)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
