//! Recounting tables of merged values: what the archive says against what is stored, in one pass.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection, query};
use treehook_event::{Day, Difference, Failure};

use crate::classify::failure;
use crate::merged::{Merged, RowKey, Table};
use crate::rows::read;
use crate::verify::Findings;

/// Rows that differ and are held at once: 256 sketches are 4 MiB at most.
const WRONG_MAX: usize = 256;

/// What the archive can prove, by how much of it retention has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It holds everything that ever counted here.
    Whole,
    /// It has forgotten some of it, and can only show what is missing.
    Missing,
    /// It has forgotten most of it: a row is believed as long as it can be read.
    Readable,
}

/// What is compared, and what is done about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// Which day, where the key has one.
    pub(crate) day: Option<Day>,
    /// What the archive can prove of it.
    pub(crate) proof: Proof,
    /// Whether to put right what differs.
    pub(crate) repair: bool,
}

/// What a table holds under a key.
enum Held<V> {
    Nothing,
    Value(V),
    /// It cannot be read.
    Damaged,
}

/// What the archive says of a key, next to what the table holds.
struct Group<K, V> {
    key: K,
    archive: Option<V>,
    stored: Held<V>,
}

/// Compares a table with the archive, both ways; says whether anything differs.
pub(crate) async fn compare<K: RowKey, V: Merged>(
    connection: &mut SqliteConnection,
    table: &Table<K, V>,
    scope: Scope,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    let mut after = None;
    loop {
        let wrong = wrong_groups(connection, table, scope, after.as_ref()).await?;
        for group in &wrong {
            findings.add(group.difference(table.name));
        }
        if scope.repair {
            mend(connection, table, scope, &wrong).await?;
        }
        let all_seen = wrong.len() < WRONG_MAX || (findings.room() == 0 && !scope.repair);
        match wrong.into_iter().next_back() {
            Some(last) if !all_seen => after = Some(last.key),
            last => return Ok(last.is_some() || after.is_some()),
        }
    }
}

/// The first few groups after `after` that differ.
async fn wrong_groups<K: RowKey, V: Merged>(
    connection: &mut SqliteConnection,
    table: &Table<K, V>,
    scope: Scope,
    after: Option<&K>,
) -> Result<Vec<Group<K, V>>, Failure> {
    let mut statement = query(table.recount);
    if let Some(day) = scope.day {
        statement = statement.bind(day.0);
    }
    let mut rows = statement.fetch(connection);
    let mut wrong = Vec::new();
    let mut group: Option<Group<K, V>> = None;
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let key = K::read(&row)?;
        if after.is_some_and(|after| key <= *after) {
            continue;
        }
        if group.as_ref().is_none_or(|group| group.key != key) {
            let next = Group { key, archive: None, stored: Held::Nothing };
            wrong.extend(group.replace(next).filter(|done| done.differs(scope.proof)));
            if wrong.len() == WRONG_MAX {
                return Ok(wrong);
            }
        }
        if let Some(group) = &mut group {
            group.take_in(table, &row)?;
        }
    }
    wrong.extend(group.filter(|done| done.differs(scope.proof)));
    Ok(wrong)
}

/// Writes rows of a day anew from the archive, whether or not they count the same: a sketch may
/// have room for a visitor without counting one more. The archive must hold the day whole.
pub(crate) async fn rebuild<K: RowKey, V: Merged>(
    connection: &mut SqliteConnection,
    table: &Table<K, V>,
    day: Day,
    keys: &BTreeSet<K>,
) -> Result<(), Failure> {
    let sql = format!(
        "select * from ({}) where value is null \
         and profile_id in (select value from json_each(?2))",
        table.recount
    );
    let keys: Vec<&K> = keys.iter().collect();
    for chunk in keys.chunks(WRONG_MAX) {
        let mut said: BTreeMap<&K, Option<V>> = chunk.iter().map(|key| (*key, None)).collect();
        let profiles: serde_json::Value = chunk.iter().map(|key| key.profile().as_str()).collect();
        let statement = query(AssertSqlSafe(sql.clone())).bind(day.0).bind(profiles.to_string());
        let mut rows = statement.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(failure)? {
            let key = K::read(&row)?;
            if let Some(known) = said.get_mut(&key) {
                *known = (table.learn)(known.take(), &key, &row)?;
            }
        }
        drop(rows);
        write(connection, table, said).await?;
    }
    Ok(())
}

/// Writes what should stand there.
async fn mend<K: RowKey, V: Merged>(
    connection: &mut SqliteConnection,
    table: &Table<K, V>,
    scope: Scope,
    wrong: &[Group<K, V>],
) -> Result<(), Failure> {
    let right = wrong.iter().map(|group| (&group.key, group.should_be(scope.proof)));
    write(connection, table, right).await
}

/// Puts values in place of what is stored, and removes what should not be there.
async fn write<'k, K: RowKey + 'k, V: Merged>(
    connection: &mut SqliteConnection,
    table: &Table<K, V>,
    rows: impl IntoIterator<Item = (&'k K, Option<V>)>,
) -> Result<(), Failure> {
    let (mut right, mut gone) = (Vec::new(), Vec::new());
    for (key, value) in rows {
        match value {
            Some(value) => right.push((key, value)),
            None => gone.push(key),
        }
    }
    for key in gone {
        table.remove(connection, key).await?;
    }
    table.put(connection, &right).await
}

impl<K: RowKey, V: Merged> Group<K, V> {
    fn take_in(&mut self, table: &Table<K, V>, row: &SqliteRow) -> Result<(), Failure> {
        if read::<Option<&[u8]>>(row, "value")?.is_some() {
            self.stored = V::read(row).map_or(Held::Damaged, Held::Value);
        } else {
            self.archive = (table.learn)(self.archive.take(), &self.key, row)?;
        }
        Ok(())
    }

    fn differs(&self, proof: Proof) -> bool {
        match (&self.archive, &self.stored, proof) {
            (_, Held::Damaged, _) | (Some(_), Held::Nothing, Proof::Whole | Proof::Missing) => true,
            (None, Held::Nothing, _) | (_, _, Proof::Readable) => false,
            (None, Held::Value(_), proof) => proof == Proof::Whole,
            (Some(archive), Held::Value(stored), Proof::Whole) => !archive.agrees(stored),
            (Some(archive), Held::Value(stored), Proof::Missing) => stored.clone().absorb(archive),
        }
    }

    fn should_be(&self, proof: Proof) -> Option<V> {
        match (&self.archive, &self.stored) {
            (Some(archive), Held::Value(stored)) if proof != Proof::Whole => {
                let mut merged = stored.clone();
                merged.absorb(archive);
                Some(merged)
            }
            (archive, _) => archive.clone(),
        }
    }

    fn difference(&self, rollup: &'static str) -> Difference {
        let nothing = || "nothing".to_owned();
        Difference {
            rollup,
            key: self.key.label(),
            archive: self.archive.as_ref().map_or_else(nothing, Merged::describe),
            stored: match &self.stored {
                Held::Nothing => nothing(),
                Held::Value(value) => value.describe(),
                Held::Damaged => "unreadable bytes".to_owned(),
            },
        }
    }
}
