//! The archive from outside: rows that are there already, and a binary COPY of the same rows.

use std::time::Instant;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgPoolCopyExt as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgPool};
use treehook_event::{EventStore as _, Timestamp};

use crate::deliveries::{Deliveries, fresh_numbers};
use crate::harness::{TestDatabase, now};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A database with the schema, and about so many rows in the archive, spread over this day and the
/// days before it.
pub(crate) async fn database_with(rows: u64, days: u32) -> TestDatabase {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let store = database.store();
    store.migrate().await.unwrap();
    if rows > 0 {
        // A real event for each day makes its partition, and is what the day's rows look like.
        let (deliveries, first) = (Deliveries::new(), fresh_numbers());
        let now = now();
        for day in 0..days {
            let number = first + u64::from(day);
            let mut events = deliveries.events(number..number + 1, now);
            let back = i64::from(day) * DAY;
            for event in &mut events {
                event.occurred_at = Timestamp::from_millis(event.occurred_at.as_millis() - back);
            }
            store.record(&events, now).await.unwrap();
        }
        for day in 0..days {
            let back = i64::from(day) * DAY;
            let day = Timestamp::from_millis(now.as_millis() - back).day();
            multiply(&mut connection, &day.to_iso(), rows / u64::from(days)).await;
        }
    }
    store.close().await;
    // What the server does about so many new rows is over before anything is measured.
    connection.execute("vacuum (analyze)").await.unwrap();
    connection.execute("checkpoint").await.unwrap();
    connection.close().await.unwrap();
    database
}

/// Copies each row of a day of the archive so many times, under keys of their own: into a table without an index, which
/// takes the day's place and is indexed as a whole, several times faster than row by row.
async fn multiply(connection: &mut PgConnection, day: &str, times: u64) {
    let columns = columns(connection, "events").await;
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "key" => "decode(md5(encode(e.key, 'hex') || n), 'hex')".to_owned(),
            other => format!("e.{other}"),
        })
        .collect();
    let (into, from) = (columns.join(", "), values.join(", "));
    let table = format!("events_{}", day.replace('-', ""));
    for sql in [
        format!(
            "create table filled
             (like {table} including defaults including constraints including storage)"
        ),
        format!(
            "insert into filled ({into})
             select {from} from {table} e, generate_series(1, {times}) n
             union all select {into} from {table} e"
        ),
        format!("alter table events detach partition {table}"),
        format!("drop table {table}"),
        format!("alter table filled rename to {table}"),
        format!(
            "alter table events attach partition {table}
             for values from ('{day}') to (date '{day}' + 1)"
        ),
    ] {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

async fn columns(connection: &mut PgConnection, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select column_name::text from information_schema.columns
         where table_name = $1 and table_schema = 'public' and is_generated = 'NEVER'
         order by ordinal_position",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Rows per second of a binary COPY of the rows that were archived since `since`, into a table of the
/// archive's shape that holds the other rows already. It stays, and holds the archive's rows from then on.
pub(crate) async fn copy_rate(database: &TestDatabase, since: Timestamp) -> f64 {
    let pool = PgPool::connect(&database.url).await.unwrap();
    let since = since.to_rfc3339();
    let run = async |sql: String| pool.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected();
    let is_there: bool = sqlx::query_scalar("select to_regclass('copied') is not null")
        .fetch_one(&pool)
        .await
        .unwrap();
    if !is_there {
        copy_others(&pool, &since).await;
    }
    run("checkpoint".to_owned()).await;
    let query = format!("select * from events where applied_at >= '{since}'");
    let out = AssertSqlSafe(format!("copy ({query}) to stdout (format binary)"));
    let out = pool.copy_out_raw(&out.0).await.unwrap();
    let rows: Vec<_> = out.try_collect().await.unwrap();
    let started = Instant::now();
    let mut copy = pool.copy_in_raw("copy copied from stdin (format binary)").await.unwrap();
    for part in rows.chunks(256) {
        copy.send(part.concat()).await.unwrap();
    }
    let copied = copy.finish().await.unwrap();
    let rate = copied as f64 / started.elapsed().as_secs_f64();
    pool.close().await;
    rate
}

/// Makes the table that is copied into, and gives it what was archived before `since`.
async fn copy_others(pool: &PgPool, since: &str) {
    let run = async |sql: String| pool.execute(AssertSqlSafe(sql)).await.unwrap();
    let shape = "including defaults including constraints including storage";
    run(format!("create table copied (like events {shape})")).await;
    run(format!("insert into copied select * from events where applied_at < '{since}'")).await;
    let indexes: Vec<String> = sqlx::query_scalar(
        "select regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* USING', 'INDEX ON copied USING')
         from pg_index where indrelid = 'events'::regclass",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for index in indexes {
        run(index).await;
    }
}

/// What batches have left to be folded into the rollups.
pub(crate) async fn waiting(database: &TestDatabase) -> i64 {
    number(database, "select count(*) from rollup_deltas").await
}

/// Deadlocks that the database has seen.
pub(crate) async fn deadlocks(database: &TestDatabase) -> i64 {
    let sql = "select deadlocks from pg_stat_database where datname = current_database()";
    number(database, sql).await
}

async fn number(database: &TestDatabase, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}
