//! The ledger: what batches settled, what receivers stated, and the accounts that both come to.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};
use treehook_event::{
    Account, Counting, Failure, ReceiverId, Settled, SourceName, Statement, Timestamp, fold_settled,
};

use crate::bulk;
use crate::classify::{damaged, failure};
use crate::database::Database;
use crate::rows::{count, read};

/// Rows folded in one transaction: some megabytes, since a row tells of one batch.
const FOLDED_MAX: usize = 2000;
/// How long a complete counting keeps a row of its own: far beyond any message that comes again.
const COMPLETE_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Notes what a batch settled, in the batch's transaction.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    settled: &BTreeMap<Counting, Settled>,
) -> Result<(), Failure> {
    let rows: Vec<(&Counting, &Settled)> = settled.iter().collect();
    bulk::execute(
        connection,
        "insert into ledger_settled (receiver, epoch, source, settled)",
        "",
        &rows,
        |values, (counting, settled)| {
            values
                .push_bind(counting.receiver.to_string())
                .push_bind(counting.epoch.cast_signed())
                .push_bind(counting.source.as_str())
                .push_bind(json(settled));
        },
    )
    .await
}

/// Keeps the latest statement of each counting.
pub(crate) async fn state(
    database: &Database,
    statements: &[Statement],
    now: Timestamp,
) -> Result<(), Failure> {
    let mut transaction = database.write().await?;
    bulk::execute(
        &mut transaction,
        "insert into ledger_countings (receiver, epoch, source, version, statement, stated_at)",
        "on conflict (receiver, epoch, source) do update set version = excluded.version, \
         statement = excluded.statement, stated_at = excluded.stated_at \
         where version is null or version < excluded.version",
        statements,
        |values, statement| {
            values
                .push_bind(statement.counting.receiver.to_string())
                .push_bind(statement.counting.epoch.cast_signed())
                .push_bind(statement.counting.source.as_str())
                .push_bind(statement.version.cast_signed())
                .push_bind(json(statement))
                .push_bind(now.as_millis());
        },
    )
    .await?;
    transaction.commit().await.map_err(failure)
}

/// Every account, once all that is settled is folded in.
pub(crate) async fn ledger(database: &Database) -> Result<Vec<Account>, Failure> {
    while fold_some(database).await? {}
    let rows = query("select * from ledger_countings order by receiver, epoch, source")
        .fetch_all(database.readers())
        .await
        .map_err(failure)?;
    rows.iter().map(account).collect()
}

/// Folds some of what was settled. Answers whether there may be more.
async fn fold_some(database: &Database) -> Result<bool, Failure> {
    let limit = i64::try_from(FOLDED_MAX).unwrap_or(i64::MAX);
    let mut transaction = database.write().await?;
    let rows = query("select * from ledger_settled order by id limit ?1")
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failure)?;
    let mut settled: BTreeMap<Counting, Settled> = BTreeMap::new();
    for row in &rows {
        let held = settled.entry(counting(row)?).or_default();
        held.absorb(&parsed(&read::<String>(row, "settled")?)?);
    }
    fold(&mut transaction, &settled).await?;
    query(
        "delete from ledger_settled where id in \
         (select id from ledger_settled order by id limit ?1)",
    )
    .bind(limit)
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    transaction.commit().await.map_err(failure)?;
    Ok(rows.len() == FOLDED_MAX)
}

/// Brings every account that is not complete up to date, and those that something came for again.
async fn fold(
    connection: &mut SqliteConnection,
    settled: &BTreeMap<Counting, Settled>,
) -> Result<(), Failure> {
    let rows = query("select * from ledger_countings")
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    let mut held = Vec::new();
    for row in &rows {
        let is_complete: bool = read(row, "is_complete")?;
        let account = account(row)?;
        if !is_complete || settled.contains_key(&account.counting) {
            held.push(account);
        }
    }
    keep(connection, &fold_settled(held, settled)).await
}

async fn keep(connection: &mut SqliteConnection, accounts: &[Account]) -> Result<(), Failure> {
    bulk::execute(
        connection,
        "insert into ledger_countings (receiver, epoch, source, settled_to, applied, duplicates, \
         dead, pending, is_complete)",
        "on conflict (receiver, epoch, source) do update set settled_to = excluded.settled_to, \
         applied = excluded.applied, duplicates = excluded.duplicates, dead = excluded.dead, \
         pending = excluded.pending, is_complete = excluded.is_complete",
        accounts,
        |values, account| {
            values
                .push_bind(account.counting.receiver.to_string())
                .push_bind(account.counting.epoch.cast_signed())
                .push_bind(account.counting.source.as_str())
                .push_bind(account.settled_to.cast_signed())
                .push_bind(account.applied.cast_signed())
                .push_bind(account.duplicates.cast_signed())
                .push_bind(account.dead.cast_signed())
                .push_bind(json(&account.pending))
                .push_bind(account.is_complete());
        },
    )
    .await
}

/// Gathers the countings that were complete long ago, a row for each source.
pub(crate) async fn retire(database: &Database, now: Timestamp) -> Result<(), Failure> {
    let before = now.plus_millis(-COMPLETE_KEPT_MS).as_millis();
    let mut transaction = database.write().await?;
    query(
        "insert into ledger_countings (receiver, epoch, source, applied, duplicates, dead) \
         select ?1, 0, source, sum(applied), sum(duplicates), sum(dead) from ledger_countings \
         where is_complete and stated_at < ?2 group by source \
         on conflict (receiver, epoch, source) do update set \
         applied = applied + excluded.applied, duplicates = duplicates + excluded.duplicates, \
         dead = dead + excluded.dead",
    )
    .bind(ReceiverId(0).to_string())
    .bind(before)
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    query("delete from ledger_countings where is_complete and stated_at < ?1")
        .bind(before)
        .execute(&mut *transaction)
        .await
        .map_err(failure)?;
    transaction.commit().await.map_err(failure)
}

fn account(row: &SqliteRow) -> Result<Account, Failure> {
    let statement: Option<String> = read(row, "statement")?;
    Ok(Account {
        counting: counting(row)?,
        statement: statement.as_deref().map(parsed).transpose()?,
        settled_to: count(row, "settled_to")?,
        applied: count(row, "applied")?,
        duplicates: count(row, "duplicates")?,
        dead: count(row, "dead")?,
        pending: parsed(&read::<String>(row, "pending")?)?,
    })
}

fn counting(row: &SqliteRow) -> Result<Counting, Failure> {
    let receiver: String = read(row, "receiver")?;
    let receiver = receiver.parse().map_err(|_| damaged("a receiver of the ledger"))?;
    let source = SourceName::trusted(read(row, "source")?);
    Ok(Counting { receiver, epoch: count(row, "epoch")?, source })
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("writing JSON to memory cannot fail")
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|_| damaged("a row of the ledger"))
}
