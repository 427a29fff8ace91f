//! Rows that are merged rather than added to: visitors' sketches, and what links and profiles are now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::{FromRow, PgConnection};
use tracing::warn;
use treehook_event::{LinkId, LinkState, ProfileId, ProfileState, Rollup, Sketch};

use crate::planner::row_by_row;
use crate::retold::{self, Retold};

mod places;
mod tables;

pub(crate) use places::{Place, PlaceColumns, Places};
pub(crate) use tables::{LINK_VISITORS, LINKS, PROFILE_VISITORS, PROFILES, Table};

/// What such a row holds. Merging commutes, and repeating it changes nothing.
pub(crate) trait Kept: Clone + Send + Sync {
    /// As bytes, whatever the column's type.
    fn to_stored(&self) -> Vec<u8>;
    /// Read back; none when the bytes are not ours.
    fn from_stored(bytes: &[u8]) -> Option<Self>;
    /// Takes what the other knows.
    fn merge(&mut self, other: &Self);
    /// Whether merging it into another changes nothing.
    fn is_blank(&self) -> bool;
}

impl Kept for Sketch {
    fn to_stored(&self) -> Vec<u8> {
        self.to_bytes()
    }
    fn from_stored(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl Kept for LinkState {
    fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has nothing that JSON lacks")
    }
    fn from_stored(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }
    fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

impl Kept for ProfileState {
    fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has nothing that JSON lacks")
    }
    fn from_stored(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }
    fn is_blank(&self) -> bool {
        Self::is_blank(self)
    }
}

/// Merges in what a batch brings.
pub(crate) async fn add(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<()> {
    let at = |profile: &ProfileId, link: Option<&LinkId>, day| Place {
        profile: profile.clone(),
        link: link.cloned(),
        day,
    };
    let visitors = rollup.profile_visitors();
    let said = visitors.map(|(profile, day, seen)| (at(profile, None, Some(day)), seen.clone()));
    add_to(connection, &PROFILE_VISITORS, said).await?;

    let visitors = rollup.link_visitors();
    let said = visitors
        .map(|(profile, link, day, seen)| (at(profile, Some(link), Some(day)), seen.clone()));
    add_to(connection, &LINK_VISITORS, said).await?;

    let profiles = rollup.profiles();
    let said = profiles
        .map(|(profile, said)| (at(profile, None, None), said.cloned().unwrap_or_default()));
    add_to(connection, &PROFILES, said).await?;

    let links = rollup.links();
    let said = links.map(|(profile, link, said)| (at(profile, Some(link), None), said.clone()));
    add_to(connection, &LINKS, said).await
}

/// What comes in order of key, some at a time.
async fn add_to<V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    mut said: impl Iterator<Item = (Place, V)>,
) -> sqlx::Result<()> {
    loop {
        let some: BTreeMap<Place, V> = said.by_ref().take(table.merged_max).collect();
        if some.is_empty() {
            return Ok(());
        }
        add_some(connection, table, some).await?;
    }
}

/// Rows that are there are locked first: most are. The others are inserted.
async fn add_some<V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    mut said: BTreeMap<Place, V>,
) -> sqlx::Result<()> {
    let told = said.iter().filter(|(_, value)| !value.is_blank()).map(|(place, _)| place);
    let mut joins = row_by_row(connection).await?;
    let locked = lock(connection, table, told).await?;
    let there: HashSet<&Place> = locked.iter().map(|(place, _)| place).collect();
    let missing = said.iter().filter(|(place, _)| !there.contains(place));
    let missing: Vec<(&Place, Vec<u8>)> =
        missing.map(|(place, value)| (place, value.to_stored())).collect();
    let inserted = insert(connection, table, &missing).await?;
    // What was inserted is complete, and a blank one has nothing to add where it is there.
    said.retain(|place, value| !inserted.contains(place) && !value.is_blank());
    if locked.len() != said.len() {
        // Inserted since by somebody else: what is added begins anew, or they would lack what it says.
        return Err(sqlx::Error::RowNotFound);
    }
    let (mut changed, mut damaged) = (Vec::new(), Vec::new());
    for (place, stored) in &locked {
        // Nothing was locked but what was asked for.
        let Some(said) = said.get(place) else { continue };
        let Some(mut value) = V::from_stored(stored) else {
            damaged.push((place, said));
            continue;
        };
        // Compared as we write it: the database writes JSON in its own way.
        let before = value.to_stored();
        value.merge(said);
        let after = value.to_stored();
        if after != before {
            changed.push((place, after));
        }
    }
    if !damaged.is_empty() {
        joins.allow(connection).await?;
        changed.extend(mended(connection, table, damaged).await?);
        joins = row_by_row(connection).await?;
    }
    update(connection, table, &changed).await?;
    joins.allow(connection).await
}

/// What stands in the place of rows that cannot be read: what the archive tells and the batch says, or
/// the batch alone. A damaged row must not stop every batch that comes to it.
async fn mended<'a, V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    damaged: Vec<(&'a Place, &V)>,
) -> sqlx::Result<Vec<(&'a Place, Vec<u8>)>> {
    let told =
        retold::tell_soon(connection, table, damaged.iter().map(|(place, _)| *place)).await?;
    let (rows, from_archive) = (damaged.len(), told.is_some());
    warn!(table = table.name, rows, from_archive, "rows that could not be read were replaced");
    let mut told: BTreeMap<Place, V> = told.unwrap_or_default();
    let written_anew = damaged.into_iter().map(|(place, said)| {
        let mut value = said.clone();
        if let Some(more) = told.remove(place) {
            value.merge(&more);
        }
        (place, value.to_stored())
    });
    Ok(written_anew.collect())
}

/// Rewrites rows as the archive tells them by now; those that it does not tell of go.
pub(crate) async fn rebuild<V: Retold>(
    connection: &mut PgConnection,
    table: &Table,
    places: &BTreeSet<Place>,
) -> sqlx::Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    // Locked before the archive is read: whoever counts meanwhile adds to what is written here.
    let locked = lock(connection, table, places.iter()).await?;
    let locked: HashSet<Place> = locked.into_iter().map(|(place, _)| place).collect();
    let told: BTreeMap<Place, V> = retold::tell(connection, table, places.iter()).await?;
    let rows = told.iter().map(|(place, value)| (place, value.to_stored()));
    let (there, missing): (Vec<_>, Vec<_>) = rows.partition(|(place, _)| locked.contains(place));
    update(connection, table, &there).await?;
    insert(connection, table, &missing).await?;
    delete(connection, table, locked.iter().filter(|place| !told.contains_key(place))).await
}

/// Inserts the rows that are not there; answers which.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    table: &Table,
    rows: &[(&Place, Vec<u8>)],
) -> sqlx::Result<HashSet<Place>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let places = Places::of(rows.iter().map(|(place, _)| *place));
    let inserted: Vec<PlaceColumns> = sqlx::query_as(table.insert)
        .bind(places.profiles)
        .bind(places.links)
        .bind(places.days)
        .bind(rows.iter().map(|(_, value)| value.as_slice()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(inserted.into_iter().map(Place::from).collect())
}

#[derive(FromRow)]
struct Locked {
    #[sqlx(flatten)]
    place: PlaceColumns,
    value: Vec<u8>,
}

/// Locks rows until the transaction ends, and reads them.
async fn lock(
    connection: &mut PgConnection,
    table: &Table,
    places: impl Iterator<Item = &Place>,
) -> sqlx::Result<Vec<(Place, Vec<u8>)>> {
    let places = Places::of(places);
    if places.profiles.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Locked> = sqlx::query_as(table.lock)
        .bind(places.profiles)
        .bind(places.links)
        .bind(places.days)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.place.into(), row.value)).collect())
}

/// Rewrites rows that are locked.
async fn update(
    connection: &mut PgConnection,
    table: &Table,
    rows: &[(&Place, Vec<u8>)],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let places = Places::of(rows.iter().map(|(place, _)| *place));
    sqlx::query(table.update)
        .bind(places.profiles)
        .bind(places.links)
        .bind(places.days)
        .bind(rows.iter().map(|(_, value)| value.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes rows.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    table: &Table,
    places: impl Iterator<Item = &Place>,
) -> sqlx::Result<()> {
    let places = Places::of(places);
    sqlx::query(table.delete)
        .bind(places.profiles)
        .bind(places.links)
        .bind(places.days)
        .execute(connection)
        .await?;
    Ok(())
}
