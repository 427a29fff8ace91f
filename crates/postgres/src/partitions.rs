//! The archive's days, each a partition: made when they are needed, dropped when they are past.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use treehook_event::Day;

use crate::classify;

/// Days remembered as being there: more than two years, beyond which forgetting all of them and
/// looking again is cheap.
const KNOWN_MAX: usize = 1024;

/// Which days are known to be there. Only ever a hint: another process may have dropped one.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    known: RwLock<BTreeSet<Day>>,
}

impl Partitions {
    /// Makes the days that are not there, in a transaction of its own: what is recorded afterwards
    /// holds no lock that others would need to make theirs.
    pub(crate) async fn ensure(
        &self,
        connection: &mut PgConnection,
        days: &BTreeSet<Day>,
    ) -> sqlx::Result<()> {
        let unknown = self.unknown(days);
        if unknown.is_empty() {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        lock(&mut transaction).await?;
        let there = days_there(&mut transaction).await?;
        for day in unknown.difference(&there) {
            create(&mut transaction, *day).await?;
        }
        transaction.commit().await?;
        self.remember(&unknown);
        Ok(())
    }

    /// Trusts nothing that was known: a day has turned out to be gone.
    pub(crate) fn forget(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn unknown(&self, days: &BTreeSet<Day>) -> BTreeSet<Day> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        days.difference(&known).copied().collect()
    }

    fn remember(&self, days: &BTreeSet<Day>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + days.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(days.iter().take(KNOWN_MAX));
    }
}

/// One process at a time changes which days there are, in this schema.
pub(crate) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "select pg_advisory_xact_lock(hashtext('treehook upkeep'), hashtext(current_schema()))",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The days that are attached to the archive.
pub(crate) async fn days_there(connection: &mut PgConnection) -> sqlx::Result<BTreeSet<Day>> {
    let names: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'events'::regclass",
    )
    .fetch_all(connection)
    .await?;
    Ok(names.iter().filter_map(|name| day_of(name)).collect())
}

/// Created apart and then attached: `create table .. partition of` would wait for every reader of
/// the archive, and every worker behind it.
async fn create(connection: &mut PgConnection, day: Day) -> sqlx::Result<()> {
    let (name, from) = (name_of(day), day.to_iso());
    for statement in [
        format!(
            "create table {name}
             (like events including defaults including constraints including storage)"
        ),
        // The sum is worked out by the server, which knows the day after the last of ours.
        format!(
            "alter table events attach partition {name}
             for values from ('{from}') to (date '{from}' + 1)"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

/// How long dropping a day waits for whoever reads the archive. Workers queue behind it meanwhile, so
/// it rather comes back at the next round of upkeep.
const DROP_LOCK_TIMEOUT: &str = "set local lock_timeout = '2s'";

/// Drops the days before this one, oldest first, each in a transaction of its own. Says how many;
/// stops early when the archive is in use for long, as it is by `verify`.
pub(crate) async fn drop_before(connection: &mut PgConnection, first: Day) -> sqlx::Result<u64> {
    let mut dropped = 0;
    let there = days_there(connection).await?;
    for day in there.into_iter().take_while(|day| *day < first) {
        match drop_day(connection, day).await {
            Ok(gone) => dropped += u64::from(gone),
            Err(error) if classify::is_lock_timeout(&error) => {
                tracing::info!(day = day.to_iso(), "the archive is in use: a day is dropped later");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

/// Drops one day. False when somebody else just did.
async fn drop_day(connection: &mut PgConnection, day: Day) -> sqlx::Result<bool> {
    let name = name_of(day);
    let mut transaction = connection.begin().await?;
    sqlx::query(DROP_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    lock(&mut transaction).await?;
    if !days_there(&mut transaction).await?.contains(&day) {
        return Ok(false);
    }
    for statement in
        [format!("alter table events detach partition {name}"), format!("drop table {name}")]
    {
        sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut *transaction).await?;
    }
    // In the same transaction: `verify` must never take a dropped day for one that it can recount.
    sqlx::query(
        "insert into meta as t (name, value) values ('archive_from', $1)
         on conflict (name) do update set value = greatest(t.value, excluded.value)",
    )
    .bind(day.plus(1).to_iso())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

/// The first day that the archive still holds whole; none while it holds all of them.
pub(crate) async fn archive_from(connection: &mut PgConnection) -> sqlx::Result<Option<Day>> {
    let value: Option<String> =
        sqlx::query_scalar("select value from meta where name = 'archive_from'")
            .fetch_optional(connection)
            .await?;
    match value {
        None => Ok(None),
        Some(text) => match Day::from_iso(&text) {
            Some(day) => Ok(Some(day)),
            None => Err(classify::Unreadable { table: "meta" }.into()),
        },
    }
}

/// `events_20261124`.
fn name_of(day: Day) -> String {
    format!("events_{}", day.to_iso().replace('-', ""))
}

/// The day that a partition's name says; none for a table that somebody else attached.
fn day_of(name: &str) -> Option<Day> {
    let digits = name.strip_prefix("events_")?;
    let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..8)?);
    (digits.len() == 8).then(|| Day::from_iso(&format!("{year}-{month}-{day}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_found_again_by_its_name() {
        let day = Day::from_iso("2026-11-24").unwrap();
        assert_eq!(name_of(day), "events_20261124");
        assert_eq!(day_of("events_20261124"), Some(day));
        for other in ["events_default", "events_2026112", "events_202611240", "events_20261324"] {
            assert_eq!(day_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_known_stays_bounded() {
        let partitions = Partitions::default();
        for start in 0..20 {
            partitions.remember(&(start * 100..start * 100 + 100).map(Day).collect());
        }
        assert!(partitions.known.read().unwrap().len() <= KNOWN_MAX);
        assert!(partitions.unknown(&BTreeSet::from([Day(1950)])).is_empty());
        partitions.forget();
        assert_eq!(partitions.unknown(&BTreeSet::from([Day(1950)])).len(), 1);
    }
}
