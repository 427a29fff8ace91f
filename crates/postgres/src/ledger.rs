//! The ledger: what batches settled, what receivers stated, and the accounts that both come to.

use std::collections::BTreeMap;

use sqlx::{Connection as _, FromRow, PgConnection};
use treehook_event::{
    Account, Counting, ReceiverId, Settled, SourceName, Statement, Timestamp, fold_settled,
};

use crate::columns::{bigint, count, moment};

/// Rows folded in one transaction: some megabytes, since a row tells of one batch.
const FOLDED_MAX: i64 = 2000;
/// How long a complete counting keeps a row of its own: far beyond any message that comes again.
const COMPLETE_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Whoever folds holds this lock, so that nothing is folded twice. A number that nobody else uses: the
/// first fractional digits of pi.
const LOCK: i64 = 0x243f_6a88_85a3_08d3;

/// Notes what a batch settled, in the batch's transaction.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    settled: &BTreeMap<Counting, Settled>,
) -> sqlx::Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let countings = || settled.keys();
    sqlx::query(
        "insert into ledger_settled (receiver, epoch, source, settled)
         select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[])",
    )
    .bind(countings().map(|counting| counting.receiver.to_string()).collect::<Vec<_>>())
    .bind(countings().map(|counting| bigint(counting.epoch)).collect::<Vec<_>>())
    .bind(countings().map(|counting| counting.source.as_str()).collect::<Vec<_>>())
    .bind(settled.values().map(json).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the latest statement of each counting.
pub(crate) async fn state(
    connection: &mut PgConnection,
    statements: &[Statement],
    now: Timestamp,
) -> sqlx::Result<()> {
    let mut latest: BTreeMap<&Counting, &Statement> = BTreeMap::new();
    for statement in statements {
        let held = latest.entry(&statement.counting).or_insert(statement);
        if held.version < statement.version {
            *held = statement;
        }
    }
    sqlx::query(
        "insert into ledger_countings as t
             (receiver, epoch, source, version, statement, stated_at)
         select receiver, epoch, source, version, statement, $6
         from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[])
             as n (receiver, epoch, source, version, statement)
         order by receiver, epoch, source
         on conflict (receiver, epoch, source) do update set
             version = excluded.version,
             statement = excluded.statement,
             stated_at = excluded.stated_at
         where t.version is null or t.version < excluded.version",
    )
    .bind(latest.keys().map(|counting| counting.receiver.to_string()).collect::<Vec<_>>())
    .bind(latest.keys().map(|counting| bigint(counting.epoch)).collect::<Vec<_>>())
    .bind(latest.keys().map(|counting| counting.source.as_str()).collect::<Vec<_>>())
    .bind(latest.values().map(|statement| bigint(statement.version)).collect::<Vec<_>>())
    .bind(latest.values().map(json).collect::<Vec<_>>())
    .bind(moment(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Every account, once all that is settled is folded in.
pub(crate) async fn ledger(connection: &mut PgConnection) -> sqlx::Result<Vec<Account>> {
    while fold_some(connection).await? {}
    let rows: Vec<Row> = sqlx::query_as(
        "select receiver, epoch, source, statement, settled_to, applied, duplicates, dead, pending
         from ledger_countings order by receiver, epoch, source",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::account).collect()
}

/// Folds some of what was settled. Answers whether there may be more.
async fn fold_some(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    let rows: Vec<(i64, String, i64, String, String)> = sqlx::query_as(
        "select id, receiver, epoch, source, settled from ledger_settled order by id limit $1",
    )
    .bind(FOLDED_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    let mut settled: BTreeMap<Counting, Settled> = BTreeMap::new();
    for (_, receiver, epoch, source, text) in &rows {
        let counting = counting(receiver, *epoch, source)?;
        settled.entry(counting).or_default().absorb(&read(text)?);
    }
    fold(&mut transaction, &settled).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    sqlx::query("delete from ledger_settled where id = any($1)")
        .bind(&ids)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(i64::try_from(ids.len()).is_ok_and(|rows| rows == FOLDED_MAX))
}

/// Brings every account that is not complete up to date.
async fn fold(
    connection: &mut PgConnection,
    settled: &BTreeMap<Counting, Settled>,
) -> sqlx::Result<()> {
    let rows: Vec<Row> = sqlx::query_as(
        "select receiver, epoch, source, statement, settled_to, applied, duplicates, dead, pending
         from ledger_countings
         where not is_complete or (receiver, epoch, source) in
             (select * from unnest($1::text[], $2::bigint[], $3::text[]))
         order by receiver, epoch, source for update",
    )
    .bind(settled.keys().map(|counting| counting.receiver.to_string()).collect::<Vec<_>>())
    .bind(settled.keys().map(|counting| bigint(counting.epoch)).collect::<Vec<_>>())
    .bind(settled.keys().map(|counting| counting.source.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let held = rows.into_iter().map(Row::account).collect::<sqlx::Result<Vec<_>>>()?;
    keep(connection, &fold_settled(held, settled)).await
}

async fn keep(connection: &mut PgConnection, accounts: &[Account]) -> sqlx::Result<()> {
    let rows = || accounts.iter();
    sqlx::query(
        "insert into ledger_countings as t
             (receiver, epoch, source, settled_to, applied, duplicates, dead, pending, is_complete)
         select * from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::text[], $9::boolean[])
         on conflict (receiver, epoch, source) do update set
             settled_to = excluded.settled_to,
             applied = excluded.applied,
             duplicates = excluded.duplicates,
             dead = excluded.dead,
             pending = excluded.pending,
             is_complete = excluded.is_complete",
    )
    .bind(rows().map(|account| account.counting.receiver.to_string()).collect::<Vec<_>>())
    .bind(rows().map(|account| bigint(account.counting.epoch)).collect::<Vec<_>>())
    .bind(rows().map(|account| account.counting.source.as_str()).collect::<Vec<_>>())
    .bind(rows().map(|account| bigint(account.settled_to)).collect::<Vec<_>>())
    .bind(rows().map(|account| bigint(account.applied)).collect::<Vec<_>>())
    .bind(rows().map(|account| bigint(account.duplicates)).collect::<Vec<_>>())
    .bind(rows().map(|account| bigint(account.dead)).collect::<Vec<_>>())
    .bind(rows().map(|account| json(&account.pending)).collect::<Vec<_>>())
    .bind(rows().map(Account::is_complete).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Gathers the countings that were complete long ago, a row for each source.
pub(crate) async fn retire(connection: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    sqlx::query(
        "with gone as (
             delete from ledger_countings where is_complete and stated_at < $1
             returning source, applied, duplicates, dead
         )
         insert into ledger_countings as t (receiver, epoch, source, applied, duplicates, dead)
         select $2, 0, source, sum(applied)::bigint, sum(duplicates)::bigint, sum(dead)::bigint
         from gone group by source
         on conflict (receiver, epoch, source) do update set
             applied = t.applied + excluded.applied,
             duplicates = t.duplicates + excluded.duplicates,
             dead = t.dead + excluded.dead",
    )
    .bind(moment(now.plus_millis(-COMPLETE_KEPT_MS)))
    .bind(ReceiverId(0).to_string())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

#[derive(FromRow)]
struct Row {
    receiver: String,
    epoch: i64,
    source: String,
    statement: Option<String>,
    settled_to: i64,
    applied: i64,
    duplicates: i64,
    dead: i64,
    pending: String,
}

impl Row {
    fn account(self) -> sqlx::Result<Account> {
        Ok(Account {
            counting: counting(&self.receiver, self.epoch, &self.source)?,
            statement: self.statement.as_deref().map(read).transpose()?,
            settled_to: count(self.settled_to),
            applied: count(self.applied),
            duplicates: count(self.duplicates),
            dead: count(self.dead),
            pending: read(&self.pending)?,
        })
    }
}

fn counting(receiver: &str, epoch: i64, source: &str) -> sqlx::Result<Counting> {
    let receiver = receiver.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Counting { receiver, epoch: count(epoch), source: SourceName::trusted(source) })
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("writing JSON to memory cannot fail")
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
