//! Rows that take in what a batch adds: read, merged, and written if that changed anything.

use std::collections::BTreeMap;

use futures_util::future::join;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection};
use tracing::warn;
use treehook_event::{Day, Failure, LinkId, ProfileId};

use crate::bulk::{self, MERGED_MAX, Values, is_full, with_values};
use crate::classify::failure;
use crate::rows::{day, link_id, profile_id};

/// A table's primary key.
pub(crate) trait RowKey: Ord + Clone + Send + Sync {
    /// From the columns of the same names.
    fn read(row: &SqliteRow) -> Result<Self, Failure>;
    /// In the order of the table's `keys`.
    fn bind(&self, values: &mut Values<'_>);
    /// For people.
    fn label(&self) -> String;
    /// Whose row it is.
    fn profile(&self) -> &ProfileId;
}

/// A value that takes in others of its kind. Merging commutes, and repeating it changes nothing.
pub(crate) trait Merged: Clone + Send + Sync {
    /// From the column `value`.
    fn read(row: &SqliteRow) -> Result<Self, Failure>;
    /// As stored.
    fn bind(&self, values: &mut Values<'_>);
    /// Takes in the other; says whether that changed anything.
    fn absorb(&mut self, other: &Self) -> bool;
    /// Whether both say the same.
    fn agrees(&self, other: &Self) -> bool;
    /// For people.
    fn describe(&self) -> String;
}

/// Takes what one row of the archive says of a key into what is known so far.
pub(crate) type Learn<K, V> = fn(Option<V>, &K, &SqliteRow) -> Result<Option<V>, Failure>;

/// A table of merged values.
pub(crate) struct Table<K, V> {
    /// Its name, which is the rollup's as well.
    pub(crate) name: &'static str,
    /// The columns of its primary key.
    pub(crate) keys: &'static str,
    /// The column of its value.
    pub(crate) value: &'static str,
    /// What the archive has to say, and what the table says in the column `value`, side by side in
    /// order of key. `?1` is the day, where the key has one.
    pub(crate) recount: &'static str,
    /// How `recount` is read.
    pub(crate) learn: Learn<K, V>,
}

impl<K: RowKey, V: Merged> Table<K, V> {
    /// Merges what a batch adds into what is stored.
    pub(crate) async fn absorb(
        &self,
        connection: &mut SqliteConnection,
        added: &[(K, &V)],
    ) -> Result<(), Failure> {
        let mut chunks = added.chunks(MERGED_MAX);
        let mut next = chunks.next();
        let mut held = self.find(connection, next.unwrap_or_default()).await?;
        while let Some(chunk) = next {
            next = chunks.next();
            // What is stored of the next ones, which are others, is read while these are merged.
            let finding = self.find(connection, next.unwrap_or_default());
            let (found, changed) = join(finding, async { merged(chunk, held) }).await;
            held = found?;
            self.put(connection, &changed).await?;
        }
        Ok(())
    }

    /// What is stored under these keys and can be read.
    async fn find(
        &self,
        connection: &mut SqliteConnection,
        wanted: &[(K, &V)],
    ) -> Result<BTreeMap<K, V>, Failure> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let Self { name, keys, value, .. } = self;
        // A join in this order, not `(keys) in (values ...)`: that would read the whole table.
        let head = format!("with wanted ({keys}) as (");
        let tail = format!(
            ") select {keys}, {value} as value from wanted cross join {name} using ({keys})"
        );
        let mut statement = with_values(&head, &tail, wanted, |values, (key, _)| key.bind(values));
        let query = statement.build().persistent(is_full(wanted));
        let rows = query.fetch_all(&mut *connection).await.map_err(failure)?;
        let mut found = BTreeMap::new();
        for row in &rows {
            if let Ok(value) = V::read(row) {
                found.insert(K::read(row)?, value);
            } else {
                // It neither heals while events wait, nor is it their fault.
                warn!(
                    table = name,
                    "a stored row cannot be read and starts anew: `treehook verify --repair` \
                     rebuilds it from the archive"
                );
            }
        }
        Ok(found)
    }

    /// Writes values in place of what is stored.
    pub(crate) async fn put(
        &self,
        connection: &mut SqliteConnection,
        rows: &[(&K, V)],
    ) -> Result<(), Failure> {
        let Self { name, keys, value, .. } = self;
        let head = format!("insert into {name} ({keys}, {value})");
        let tail = format!("on conflict ({keys}) do update set {value} = excluded.{value}");
        bulk::execute(connection, &head, &tail, rows, |values, (key, merged)| {
            key.bind(values);
            merged.bind(values);
        })
        .await
    }

    /// Removes one row.
    pub(crate) async fn remove(
        &self,
        connection: &mut SqliteConnection,
        key: &K,
    ) -> Result<(), Failure> {
        let Self { name, keys, .. } = self;
        let mut statement = QueryBuilder::new(format!("delete from {name} where ({keys}) = ("));
        key.bind(&mut statement.separated(", "));
        statement.push(")").build().execute(connection).await.map_err(failure)?;
        Ok(())
    }
}

/// What is added to what is stored, where that changes anything.
fn merged<'a, K: Ord, V: Merged>(
    added: &'a [(K, &V)],
    mut held: BTreeMap<K, V>,
) -> Vec<(&'a K, V)> {
    let merge = |(key, value): &'a (K, &V)| match held.remove(key) {
        None => Some((key, (*value).clone())),
        Some(mut merged) => merged.absorb(value).then_some((key, merged)),
    };
    added.iter().filter_map(merge).collect()
}

impl RowKey for ProfileId {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        profile_id(row)
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(self.as_str());
    }

    fn label(&self) -> String {
        self.to_string()
    }

    fn profile(&self) -> &ProfileId {
        self
    }
}

impl RowKey for (ProfileId, LinkId) {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        Ok((profile_id(row)?, link_id(row)?))
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(self.0.as_str()).push_bind(self.1.as_str());
    }

    fn label(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn profile(&self) -> &ProfileId {
        &self.0
    }
}

impl RowKey for (ProfileId, Day) {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        Ok((profile_id(row)?, day(row)?))
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(self.0.as_str()).push_bind(self.1.0);
    }

    fn label(&self) -> String {
        format!("{} {}", self.0, self.1.to_iso())
    }

    fn profile(&self) -> &ProfileId {
        &self.0
    }
}

impl RowKey for (ProfileId, LinkId, Day) {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        Ok((profile_id(row)?, link_id(row)?, day(row)?))
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(self.0.as_str()).push_bind(self.2.0).push_bind(self.1.as_str());
    }

    fn label(&self) -> String {
        format!("{}/{} {}", self.0, self.1, self.2.to_iso())
    }

    fn profile(&self) -> &ProfileId {
        &self.0
    }
}
