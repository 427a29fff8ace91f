//! The worker that everybody writes first: one message, one transaction, one acknowledgement.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::deliveries::{body, fresh_numbers};
use crate::harness::{TestDatabase, now};
use crate::reference::{QUEUE, clear, confirming, publish};

/// Messages in its queue: a few seconds' worth.
const MESSAGES: u64 = 4000;

const TABLES: &str = "
create table naive_events (id text primary key, at text not null, payload text not null);
create table naive_clicks (profile text, link text, hour text, clicks bigint not null,
    primary key (profile, link, hour))";

/// Messages per second.
pub(crate) async fn rate() -> f64 {
    let channel = confirming().await;
    let first = fresh_numbers();
    for number in first..first + MESSAGES {
        assert!(publish(&channel, body(number, now()).as_bytes()).await);
    }
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute(AssertSqlSafe(TABLES.to_owned())).await.unwrap();

    channel.basic_qos(256, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default());
    let mut consumer = consumer.await.unwrap();
    let started = Instant::now();
    let mut done = 0_u64;
    while done < MESSAGES && started.elapsed() < Duration::from_secs(5) {
        let message = consumer.next().await.unwrap().unwrap();
        record(&mut connection, &message.data).await;
        message.acker.ack(BasicAckOptions::default()).await.unwrap();
        done += 1;
    }
    let rate = done as f64 / started.elapsed().as_secs_f64();
    connection.close().await.unwrap();
    database.end().await;
    clear().await;
    rate
}

async fn record(connection: &mut PgConnection, message: &[u8]) {
    let event: Value = serde_json::from_slice(message).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = text(&event["timestamp"]);
    let mut transaction = connection.begin().await.unwrap();
    let inserted =
        sqlx::query("insert into naive_events values ($1, $2, $3) on conflict do nothing")
            .bind(text(&event["id"]))
            .bind(&at)
            .bind(event.to_string())
            .execute(&mut *transaction)
            .await
            .unwrap();
    if inserted.rows_affected() == 1 {
        let count = "insert into naive_clicks as t values ($1, $2, $3, 1)
             on conflict (profile, link, hour) do update set clicks = t.clicks + 1";
        sqlx::query(count)
            .bind(text(&event["data"]["profile_id"]))
            .bind(text(&event["data"]["link_id"]))
            .bind(&at[..13])
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}
