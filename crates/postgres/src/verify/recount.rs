//! Rollups that are added up, recounted by the database itself.

use sqlx::{AssertSqlSafe, PgConnection};
use time::Date;
use treehook_event::Difference;

use super::{Findings, Mode};

/// How one rollup is recounted.
pub(super) struct Recount {
    rollup: &'static str,
    /// Common table expressions that end in `wrong`: the rows that differ, from both sides.
    wrong: &'static str,
    /// Selects key, archive and stored from `wrong`, for people.
    list: &'static str,
    /// Rewrites the rows in `wrong`: those that the archive does not tell of go. One statement, so
    /// that it is counted once.
    repair: &'static str,
}

impl Recount {
    /// Adds the differences to the findings, and mends them all if told so.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        from: Date,
        mode: Mode,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        // All of it is text of ours.
        let list = format!("with {} {} limit $2", self.wrong, self.list);
        let room = i64::try_from(findings.room()).unwrap_or(i64::MAX);
        let rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(list))
            .bind(from)
            .bind(room)
            .fetch_all(&mut *connection)
            .await?;
        for (key, archive, stored) in rows {
            findings.add(Difference { rollup: self.rollup, key, archive, stored });
        }
        match mode {
            Mode::List => (),
            Mode::Repair => {
                let repair = format!("with {}, {}", self.wrong, self.repair);
                sqlx::query(AssertSqlSafe(repair)).bind(from).execute(connection).await?;
            }
        }
        Ok(())
    }
}

pub(super) const RECOUNTS: [Recount; 4] = [
    Recount {
        rollup: "link_hours",
        wrong: "
told as (
    select profile_id, link_id, date_trunc('hour', occurred_at, 'UTC') as hour, count(*) as clicks
    from events where day >= $1 and kind = 'click'
    group by 1, 2, 3
), kept as (
    select profile_id, link_id, hour, clicks from link_hours
    where hour >= $1::timestamp at time zone 'UTC'
), wrong as (
    select profile_id, link_id, hour, told.clicks as told, kept.clicks as kept
    from told full join kept using (profile_id, link_id, hour)
    where coalesce(told.clicks, 0) <> coalesce(kept.clicks, 0)
)",
        list: "
select concat(profile_id, '/', link_id, ' ',
        to_char(hour at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24\":00Z\"')),
    coalesce(told, 0)::text, coalesce(kept, 0)::text
from wrong order by profile_id, link_id, hour",
        repair: "
gone as (
    delete from link_hours t using wrong w
    where w.told is null
        and t.profile_id = w.profile_id and t.hour = w.hour and t.link_id = w.link_id
)
insert into link_hours (profile_id, link_id, hour, clicks)
select profile_id, link_id, hour, told from wrong where told is not null
on conflict (profile_id, hour, link_id) do update set clicks = excluded.clicks",
    },
    Recount {
        rollup: "link_days",
        wrong: "
told as (
    select profile_id, link_id, day, count(*) as clicks
    from events where day >= $1 and kind = 'click'
    group by 1, 2, 3
), kept as (
    select profile_id, link_id, day, clicks from link_days where day >= $1
), wrong as (
    select profile_id, link_id, day, told.clicks as told, kept.clicks as kept
    from told full join kept using (profile_id, link_id, day)
    where coalesce(told.clicks, 0) <> coalesce(kept.clicks, 0)
)",
        list: "
select concat(profile_id, '/', link_id, ' ', day),
    coalesce(told, 0)::text, coalesce(kept, 0)::text
from wrong order by profile_id, link_id, day",
        repair: "
gone as (
    delete from link_days t using wrong w
    where w.told is null
        and t.profile_id = w.profile_id and t.day = w.day and t.link_id = w.link_id
)
insert into link_days (profile_id, link_id, day, clicks)
select profile_id, link_id, day, told from wrong where told is not null
on conflict (profile_id, day, link_id) do update set clicks = excluded.clicks",
    },
    Recount {
        rollup: "profile_hours",
        wrong: "
told as (
    select profile_id, date_trunc('hour', occurred_at, 'UTC') as hour,
        count(*) filter (where kind = 'view') as views,
        count(*) filter (where kind = 'click') as clicks
    from events where day >= $1 and kind is not null
    group by 1, 2
), kept as (
    select profile_id, hour, views, clicks from profile_hours
    where hour >= $1::timestamp at time zone 'UTC'
), wrong as (
    select profile_id, hour, told.views as told_views, told.clicks as told_clicks,
        kept.views as kept_views, kept.clicks as kept_clicks
    from told full join kept using (profile_id, hour)
    where coalesce(told.views, 0) <> coalesce(kept.views, 0)
        or coalesce(told.clicks, 0) <> coalesce(kept.clicks, 0)
)",
        list: "
select concat(profile_id, ' ', to_char(hour at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24\":00Z\"')),
    concat(coalesce(told_views, 0), ' views, ', coalesce(told_clicks, 0), ' clicks'),
    concat(coalesce(kept_views, 0), ' views, ', coalesce(kept_clicks, 0), ' clicks')
from wrong order by profile_id, hour",
        repair: "
gone as (
    delete from profile_hours t using wrong w
    where w.told_views is null and t.profile_id = w.profile_id and t.hour = w.hour
)
insert into profile_hours (profile_id, hour, views, clicks)
select profile_id, hour, told_views, told_clicks from wrong where told_views is not null
on conflict (profile_id, hour) do update set views = excluded.views, clicks = excluded.clicks",
    },
    Recount {
        rollup: "audience",
        wrong: "
told as (
    select profile_id, day, d.dimension, d.value, count(*) as clicks
    from events,
        lateral (values ('country', country), ('device', device), ('referrer', referrer))
            as d (dimension, value)
    where day >= $1 and kind = 'click'
    group by 1, 2, 3, 4
), kept as (
    select profile_id, day, dimension, value, clicks from audience where day >= $1
), wrong as (
    select profile_id, day, dimension, value, told.clicks as told, kept.clicks as kept
    from told full join kept using (profile_id, day, dimension, value)
    where coalesce(told.clicks, 0) <> coalesce(kept.clicks, 0)
)",
        list: "
select concat(profile_id, ' ', day, ' ', dimension, ' ', value),
    coalesce(told, 0)::text, coalesce(kept, 0)::text
from wrong order by profile_id, day, dimension, value",
        repair: "
gone as (
    delete from audience t using wrong w
    where w.told is null and t.profile_id = w.profile_id and t.day = w.day
        and t.dimension = w.dimension and t.value = w.value
)
insert into audience (profile_id, day, dimension, value, clicks)
select profile_id, day, dimension, value, told from wrong where told is not null
on conflict (profile_id, day, dimension, value) do update set clicks = excluded.clicks",
    },
];
