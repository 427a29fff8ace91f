//! Rows that are merged, told again from the archive in one pass, a chunk at a time.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::Date;
use treehook_event::Difference;

use super::{Findings, Mode};
use crate::merge::{
    self, LINK_VISITORS, LINKS, PROFILE_VISITORS, PROFILES, Place, PlaceColumns, Table,
};
use crate::retold::{Retold, Said};

/// Rows fetched at a time: at most 16 MiB, if every one of them held a full sketch.
pub(super) const CHUNK: u32 = 1000;

/// How one table is told again.
pub(super) struct Remerge {
    table: Table,
    /// What the archive says and what is kept, side by side in order of place: profile, link, day,
    /// and then a visitor, or who told which detail when, or the bytes that are kept.
    rows: &'static str,
}

/// One row of either side.
#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    place: PlaceColumns,
    #[sqlx(flatten)]
    said: Said,
    kept: Option<Vec<u8>>,
}

/// All rows of one place.
struct Group<V> {
    place: Place,
    told: Option<V>,
    kept: Option<Vec<u8>>,
}

impl<V: Retold> Group<V> {
    fn at(place: Place) -> Self {
        Self { place, told: None, kept: None }
    }

    /// The difference, if there is one.
    fn difference(&self, rollup: &'static str) -> Option<Difference> {
        let kept = self.kept.as_deref().map(V::from_stored);
        let agree = match (&self.told, &kept) {
            (Some(told), Some(Some(kept))) => told.agrees(kept),
            (None, None) => true,
            (Some(_), Some(None) | None) | (None, Some(_)) => false,
        };
        let nothing = || "nothing".to_owned();
        (!agree).then(|| Difference {
            rollup,
            key: self.place.to_string(),
            archive: self.told.as_ref().map_or_else(nothing, V::shown),
            stored: kept.map_or_else(nothing, |kept| match kept {
                Some(kept) => kept.shown(),
                None => "unreadable".to_owned(),
            }),
        })
    }
}

impl Remerge {
    /// Adds the differences to the findings, and mends them all if told so.
    pub(super) async fn run<V: Retold>(
        &self,
        connection: &mut PgConnection,
        from: Date,
        mode: Mode,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let name = self.table.name;
        // All of it is text of ours. A cursor, so that what differs can be mended between chunks.
        let open = format!("declare {name}_rows no scroll cursor for {}", self.rows);
        sqlx::query(AssertSqlSafe(open)).bind(from).execute(&mut *connection).await?;
        let fetch = format!("fetch forward {CHUNK} from {name}_rows");
        let mut group: Option<Group<V>> = None;
        loop {
            let rows: Vec<Row> =
                sqlx::query_as(AssertSqlSafe(fetch.clone())).fetch_all(&mut *connection).await?;
            let finished = rows.is_empty();
            let mut groups = gather(&mut group, rows)?;
            if finished {
                groups.extend(group.take());
            }
            self.judge(connection, &groups, mode, findings).await?;
            if finished {
                break;
            }
        }
        sqlx::query(AssertSqlSafe(format!("close {name}_rows"))).execute(connection).await?;
        Ok(())
    }

    async fn judge<V: Retold>(
        &self,
        connection: &mut PgConnection,
        groups: &[Group<V>],
        mode: Mode,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let mut wrong: Vec<&Group<V>> = Vec::new();
        for group in groups {
            if let Some(difference) = group.difference(self.table.name) {
                findings.add(difference);
                wrong.push(group);
            }
        }
        if mode == Mode::List || wrong.is_empty() {
            return Ok(());
        }
        merge::delete(connection, &self.table, wrong.iter().map(|group| &group.place)).await?;
        let told: Vec<(&Place, Vec<u8>)> = wrong
            .iter()
            .filter_map(|group| Some((&group.place, group.told.as_ref()?.to_stored())))
            .collect();
        merge::insert(connection, &self.table, &told).await?;
        Ok(())
    }
}

/// Sorts rows into their groups. Answers those that are complete; the last one may go on.
fn gather<V: Retold>(open: &mut Option<Group<V>>, rows: Vec<Row>) -> sqlx::Result<Vec<Group<V>>> {
    let mut complete = Vec::new();
    for row in rows {
        let place = Place::from(row.place);
        if open.as_ref().is_some_and(|group| group.place != place) {
            complete.extend(open.take());
        }
        let group = open.get_or_insert_with(|| Group::at(place));
        match row.kept {
            Some(kept) => group.kept = Some(kept),
            None => V::hear(&mut group.told, &group.place, &row.said)?,
        }
    }
    Ok(complete)
}

pub(super) const OF_PROFILE_VISITORS: Remerge = Remerge {
    table: PROFILE_VISITORS,
    rows: "
select profile_id, null::text as link_id, day, visitor,
    null::text as identity, null::timestamptz as occurred_at, null::text as detail, kept
from (
    select distinct profile_id, day, visitor, null::bytea as kept from events
    where day >= $1 and kind is not null and visitor is not null
    union all
    select profile_id, day, null, sketch from profile_visitors where day >= $1
) as both_sides
order by profile_id, day",
};

pub(super) const OF_LINK_VISITORS: Remerge = Remerge {
    table: LINK_VISITORS,
    rows: "
select profile_id, link_id, day, visitor,
    null::text as identity, null::timestamptz as occurred_at, null::text as detail, kept
from (
    select distinct profile_id, link_id, day, visitor, null::bytea as kept from events
    where day >= $1 and kind = 'click' and visitor is not null
    union all
    select profile_id, link_id, day, null, sketch from link_visitors where day >= $1
) as both_sides
order by profile_id, link_id, day",
};

/// Every profile that any event names is there once, and once more for each detail.
pub(super) const OF_PROFILES: Remerge = Remerge {
    table: PROFILES,
    rows: "
select profile_id, null::text as link_id, null::date as day, null::bigint as visitor,
    identity, occurred_at, detail, kept
from (
    select distinct profile_id, null::text as identity, null::timestamptz as occurred_at,
        null::text as detail, null::bytea as kept
    from events where day >= $1 and profile_id is not null
    union all
    select profile_id, identity, occurred_at, detail, null from events
    where day >= $1 and type = 'profile.updated' and profile_id is not null
    union all
    select profile_id, null, null, null, convert_to(state::text, 'UTF8') from profiles
) as both_sides
order by profile_id",
};

pub(super) const OF_LINKS: Remerge = Remerge {
    table: LINKS,
    rows: "
select profile_id, link_id, null::date as day, null::bigint as visitor,
    identity, occurred_at, detail, kept
from (
    select profile_id, link_id, identity, occurred_at, detail, null::bytea as kept from events
    where day >= $1 and link_id is not null and detail is not null
    union all
    select profile_id, link_id, null, null, null, convert_to(state::text, 'UTF8') from links
) as both_sides
order by profile_id, link_id",
};
