//! Rows that the worker may have died of: found at its next start, handed out alone, and given up in the end.
//!
//! A worker in the receiver's own process takes the front door with it when it dies. The queue counts no
//! deliveries, which would be a commit for each; it remembers where a worker began, once per start.

use sqlx::{SqliteConnection, query, query_as, query_scalar};
use treehook_event::{Compression, Event, Failure, encode_batch};

use crate::classify::failure;
use crate::queue::Queue;

/// Workers that have ended without a word and with the same oldest row, from which on rows are handed out one
/// by one: as on RabbitMQ.
const SUSPECT_AFTER: i64 = 3;
/// Workers that have died of one event alone, or nearly so, when it is given up: RabbitMQ's delivery limit.
const GIVE_UP_AFTER: i64 = 20;

/// What a consumer thinks of the rows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It does not count: it handles nothing that could kill it.
    None,
    /// It has not looked yet.
    Unknown,
    /// Nothing speaks against them.
    Trusting,
    /// One of them up to this one may be deadly.
    UpTo(i64),
}

/// A row that is handed out alone.
pub(crate) struct Suspect {
    pub(crate) id: i64,
    /// Too many have died of it.
    pub(crate) is_given_up: bool,
}

/// Remembers where this worker begins. Whether workers have died at the very same place before.
pub(crate) async fn begin(queue: &Queue) -> Result<bool, Failure> {
    let mut transaction = queue.database.write().await?;
    let oldest: Option<i64> = query_scalar("select min(id) from batches")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failure)?;
    let before = read(&mut transaction).await?;
    let died = match (oldest, before) {
        (None, None) => return Ok(false),
        (None, Some(_)) => {
            forget(&mut transaction).await?;
            0
        }
        (Some(oldest), before) => {
            let died = before.filter(|(batch, _)| *batch == oldest).map_or(0, |(_, died)| died + 1);
            write(&mut transaction, oldest, died).await?;
            died
        }
    };
    transaction.commit().await.map_err(failure)?;
    Ok(died >= SUSPECT_AFTER)
}

/// The oldest row after `after` and up to `last`, noted durably before anybody touches it. A row of several
/// events is taken apart first, so that only the deadly one is given up.
pub(crate) async fn next(queue: &Queue, after: i64, last: i64) -> Result<Option<Suspect>, Failure> {
    let mut transaction = queue.database.write().await?;
    let row: Option<(i64, i64, Vec<u8>, Option<String>)> = query_as(
        "select id, created_at, payload, encoding from batches where id > ?1 and id <= ?2 order by id limit 1",
    )
    .bind(after)
    .bind(last)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?;
    let Some((row, created_at, stored, encoding)) = row else { return Ok(None) };
    let id = match Compression::named(encoding.as_deref()).decode(stored) {
        Ok(events) if events.len() > 1 => {
            take_apart(&mut transaction, (row, created_at), &events).await?
        }
        // What cannot be read is nothing that a worker looks into.
        Ok(_) | Err(_) => row,
    };
    let died = match read(&mut transaction).await? {
        Some((batch, died)) if batch == id => died,
        // Under the same suspicion as the one before it, at the next start as well.
        Some(_) | None => {
            write(&mut transaction, id, SUSPECT_AFTER).await?;
            SUSPECT_AFTER
        }
    };
    transaction.commit().await.map_err(failure)?;
    Ok(Some(Suspect { id, is_given_up: died >= GIVE_UP_AFTER }))
}

/// A row for each event, in place of theirs; the first of the new ids. Below the oldest row all ids are free.
async fn take_apart(
    connection: &mut SqliteConnection,
    (row, created_at): (i64, i64),
    events: &[Event],
) -> Result<i64, Failure> {
    let oldest: i64 = query_scalar("select min(id) from batches")
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let first = oldest.saturating_sub(count);
    query("delete from batches where id = ?1")
        .bind(row)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    for (id, event) in (first..).zip(events) {
        let payload = encode_batch(std::slice::from_ref(event));
        query("insert into batches (id, created_at, events, bytes, payload) values (?1, ?2, 1, ?3, ?4)")
            .bind(id)
            .bind(created_at)
            .bind(i64::try_from(payload.len()).unwrap_or(i64::MAX))
            .bind(payload)
            .execute(&mut *connection)
            .await
            .map_err(failure)?;
    }
    Ok(first)
}

/// A worker ended in good order, or nothing is left that it could have died of.
pub(crate) async fn forget(connection: &mut SqliteConnection) -> Result<(), Failure> {
    query("delete from suspect").execute(connection).await.map_err(failure)?;
    Ok(())
}

async fn read(connection: &mut SqliteConnection) -> Result<Option<(i64, i64)>, Failure> {
    query_as("select batch, died from suspect").fetch_optional(connection).await.map_err(failure)
}

async fn write(connection: &mut SqliteConnection, batch: i64, died: i64) -> Result<(), Failure> {
    query(
        "insert into suspect (id, batch, died) values (1, ?1, ?2) \
         on conflict (id) do update set batch = excluded.batch, died = excluded.died",
    )
    .bind(batch)
    .bind(died)
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
