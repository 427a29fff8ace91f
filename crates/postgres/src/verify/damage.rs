//! Rows that cannot be read, where the archive no longer holds all that they were made of: they cannot
//! be compared, but they must not stand in the way of reports.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::Date;
use treehook_event::Difference;

use super::remerge::CHUNK;
use super::{Findings, Mode};
use crate::merge::{
    self, LINK_VISITORS, LINKS, PROFILE_VISITORS, PROFILES, Place, PlaceColumns, Table,
};
use crate::retold::{self, Retold};

/// Where one table is looked through.
pub(super) struct Damage {
    table: Table,
    /// Its rows from before a day, or all of them where rows have none.
    rows: &'static str,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    place: PlaceColumns,
    value: Vec<u8>,
}

impl Damage {
    /// Adds what cannot be read to the findings, and replaces it if told so.
    pub(super) async fn run<V: Retold>(
        &self,
        connection: &mut PgConnection,
        before: Date,
        mode: Mode,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let name = self.table.name;
        // All of it is text of ours. A cursor, so that rows can be replaced between chunks.
        let open = format!("declare {name}_damage no scroll cursor for {}", self.rows);
        sqlx::query(AssertSqlSafe(open)).bind(before).execute(&mut *connection).await?;
        let fetch = format!("fetch forward {CHUNK} from {name}_damage");
        loop {
            let rows: Vec<Row> =
                sqlx::query_as(AssertSqlSafe(fetch.clone())).fetch_all(&mut *connection).await?;
            if rows.is_empty() {
                break;
            }
            let damaged = rows.into_iter().filter(|row| V::from_stored(&row.value).is_none());
            let places: Vec<Place> = damaged.map(|row| row.place.into()).collect();
            if !places.is_empty() {
                self.judge::<V>(connection, &places, mode, findings).await?;
            }
        }
        sqlx::query(AssertSqlSafe(format!("close {name}_damage"))).execute(connection).await?;
        Ok(())
    }

    async fn judge<V: Retold>(
        &self,
        connection: &mut PgConnection,
        damaged: &[Place],
        mode: Mode,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let told: BTreeMap<Place, V> =
            retold::tell(connection, &self.table, damaged.iter()).await?;
        for place in damaged {
            findings.add(Difference {
                rollup: self.table.name,
                key: place.to_string(),
                archive: told.get(place).map_or_else(|| "nothing".to_owned(), V::shown),
                stored: "unreadable".to_owned(),
            });
        }
        if mode == Mode::List {
            return Ok(());
        }
        merge::delete(connection, &self.table, damaged.iter()).await?;
        let stored = |place| Some(told.get(place).cloned().or_else(V::unknown)?.to_stored());
        let rows: Vec<(&Place, Vec<u8>)> =
            damaged.iter().filter_map(|place| Some((place, stored(place)?))).collect();
        merge::insert(connection, &self.table, &rows).await?;
        Ok(())
    }
}

pub(super) const IN_PROFILE_VISITORS: Damage = Damage {
    table: PROFILE_VISITORS,
    rows: "
select profile_id, null::text as link_id, day, sketch as value from profile_visitors
where day < $1",
};

pub(super) const IN_LINK_VISITORS: Damage = Damage {
    table: LINK_VISITORS,
    rows: "
select profile_id, link_id, day, sketch as value from link_visitors
where day < $1",
};

pub(super) const IN_PROFILES: Damage = Damage {
    table: PROFILES,
    rows: "
select profile_id, null::text as link_id, null::date as day,
    convert_to(state::text, 'UTF8') as value
from profiles where $1::date is not null",
};

pub(super) const IN_LINKS: Damage = Damage {
    table: LINKS,
    rows: "
select profile_id, link_id, null::date as day, convert_to(state::text, 'UTF8') as value
from links where $1::date is not null",
};
