//! How what is merged is told again from rows of the archive, compared and shown.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, Error, FromRow, PgConnection};
use time::OffsetDateTime;
use treehook_event::{
    Body, Event, Identity, LinkState, ProfileState, Rollup, Sketch, SourceName, VisitorId, fold,
};

use crate::classify::{self, Unreadable};
use crate::columns::timestamp;
use crate::merge::{Kept, Place, PlaceColumns, Places, Table};

/// Longest text of a state that is shown, in characters.
const SHOWN_MAX: usize = 300;

/// How long a batch waits for the archive to tell what a damaged row held: finding it may take reading
/// a whole day, or more, while the batch holds its locks.
const SOON: &str = "set local statement_timeout = '5s'";

/// What one row of the archive says: a visitor, or who told which detail when.
#[derive(FromRow)]
pub(crate) struct Said {
    visitor: Option<i64>,
    identity: Option<String>,
    occurred_at: Option<OffsetDateTime>,
    detail: Option<String>,
}

/// What can be told again from the archive.
pub(crate) trait Retold: Kept {
    /// Takes in what one row of the archive says.
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()>;
    /// Whether reports could not tell the two apart.
    fn agrees(&self, other: &Self) -> bool;
    /// For people.
    fn shown(&self) -> String;
    /// What is put in the place of a row that cannot be read and that nothing tells of any more.
    fn unknown() -> Option<Self>;
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    place: PlaceColumns,
    #[sqlx(flatten)]
    said: Said,
}

/// What the archive tells of these places. Those that it does not tell of are left out.
pub(crate) async fn tell<'a, V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    places: impl Iterator<Item = &'a Place>,
) -> sqlx::Result<BTreeMap<Place, V>> {
    let places = Places::of(places);
    let mut rows = sqlx::query_as::<_, Row>(table.told)
        .bind(places.profiles)
        .bind(places.links)
        .bind(places.days)
        .fetch(connection);
    let mut told = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let place = Place::from(row.place);
        let mut value = told.remove(&place);
        V::hear(&mut value, &place, &row.said)?;
        if let Some(value) = value {
            told.insert(place, value);
        }
    }
    Ok(told)
}

/// As [`tell`], within a transaction that must go on; none when the archive cannot tell in time, or
/// cannot be read either.
pub(crate) async fn tell_soon<'a, V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    places: impl Iterator<Item = &'a Place>,
) -> sqlx::Result<Option<BTreeMap<Place, V>>> {
    let mut savepoint = connection.begin().await?;
    sqlx::query(SOON).execute(&mut *savepoint).await?;
    let told = tell(&mut savepoint, table, places).await;
    // Nothing was written; the limit of time goes with the savepoint.
    savepoint.rollback().await?;
    match told {
        Ok(told) => Ok(Some(told)),
        Err(Error::Decode(_)) => Ok(None),
        Err(error) if classify::is_statement_timeout(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Retold for Sketch {
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()> {
        if let Some(visitor) = said.visitor {
            let empty = if place.link.is_some() { Self::for_link } else { Self::for_profile };
            told.get_or_insert_with(empty).add(VisitorId(visitor.cast_unsigned()));
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        // Bytes depend on the order in which visitors came; the count does not.
        self.count() == other.count()
    }

    fn shown(&self) -> String {
        format!("{} visitors", self.count())
    }

    fn unknown() -> Option<Self> {
        // No row is as good as an empty one.
        None
    }
}

impl Retold for ProfileState {
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()> {
        // Whatever names a profile makes it known.
        let state = told.get_or_insert_default();
        let rollup = rollup(said)?;
        let more = rollup.profiles().find(|(profile, _)| **profile == place.profile);
        if let Some(more) = more.and_then(|(_, more)| more) {
            state.merge(more);
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn shown(&self) -> String {
        json(self)
    }

    fn unknown() -> Option<Self> {
        // It keeps its place: reports list what has a row.
        Some(Self::default())
    }
}

impl Retold for LinkState {
    fn hear(told: &mut Option<Self>, _: &Place, said: &Said) -> sqlx::Result<()> {
        for (.., more) in rollup(said)?.links() {
            told.get_or_insert_default().merge(more);
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn shown(&self) -> String {
        json(self)
    }

    fn unknown() -> Option<Self> {
        // It keeps its place: reports list what has a row.
        Some(Self::default())
    }
}

fn json(state: &impl Kept) -> String {
    String::from_utf8_lossy(&state.to_stored()).chars().take(SHOWN_MAX).collect()
}

/// What a detail adds up to: by the very arithmetic that counted it.
fn rollup(said: &Said) -> sqlx::Result<Rollup> {
    let (Some(identity), Some(at), Some(detail)) = (&said.identity, said.occurred_at, &said.detail)
    else {
        return Ok(Rollup::default());
    };
    let body: Body = serde_json::from_str(detail).map_err(|_| Unreadable { table: "events" })?;
    let at = timestamp(at);
    Ok(fold([&Event {
        source: SourceName::trusted("archive"),
        identity: Identity::trusted(identity),
        occurred_at: at,
        received_at: at,
        entry: None,
        body,
        payload: "null".into(),
    }]))
}
