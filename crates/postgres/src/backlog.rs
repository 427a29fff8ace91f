//! The backlog: announcements that the broker would not take, kept until it does.

use sqlx::PgConnection;
use treehook_event::{Accepted, Event, Failure, Publisher, encode_batch};

use crate::connect::{Store, bounded};
use crate::store::QUERY_MAX;

mod consumer;

pub use consumer::{BacklogConsumer, BacklogReceipt};

/// Bytes of encoded events that are kept, at most: a million announcements or two, which is hours of
/// a busy deployment. Beyond it the worker waits, and the queue that it drains holds what comes.
const BYTES_MAX: i64 = 1 << 30;

/// A small durable queue beside the store. Clones, and backlogs of the same store, share it.
#[derive(Debug, Clone)]
pub struct Backlog {
    store: Store,
}

impl Store {
    /// The announcements that wait in this store.
    pub fn backlog(&self) -> Backlog {
        Backlog { store: self.clone() }
    }
}

/// What a batch may take, about: whoever asks with nothing in hand is told of room from there on.
const ROOM_MIN: i64 = 16 << 20;

fn full(bytes: i64) -> Failure {
    let detail = format!("{bytes} more bytes would pass the limit of {BYTES_MAX}");
    Failure::transient("backlog_full", detail)
}

impl Backlog {
    async fn has_room(&self) -> Result<(), Failure> {
        let store = &self.store;
        let used: i64 = bounded!(store, QUERY_MAX, |connection| used(connection))?;
        if used > BYTES_MAX - ROOM_MIN { Err(full(ROOM_MIN)) } else { Ok(()) }
    }

    /// A consumer that starts at the oldest announcement that nobody holds.
    pub fn consumer(&self) -> BacklogConsumer {
        BacklogConsumer::new(self.store.clone())
    }
}

impl Publisher for Backlog {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        if events.is_empty() {
            return self.has_room().await.map(|()| Accepted::Queued);
        }
        let batch = encode_batch(events);
        let (store, bytes) = (&self.store, size(batch.len()));
        let kept =
            bounded!(store, QUERY_MAX, |connection| insert(connection, batch, size(events.len())))?;
        if !kept {
            return Err(full(bytes));
        }
        self.store.shared.announced.send_replace(());
        Ok(Accepted::Queued)
    }
}

/// Adds a batch, if there is room. One statement, and so one transaction: it is on disk when it
/// returns, and the sum cannot part from what it sums up.
async fn insert(connection: &mut PgConnection, batch: Vec<u8>, events: i64) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "with room as (
             update announcements_total set bytes = bytes + $3 where bytes + $3 <= $4
             returning bytes
         )
         insert into announcements (batch, events, bytes) select $1, $2, $3 from room",
    )
    .bind(&batch)
    .bind(events)
    .bind(size(batch.len()))
    .bind(BYTES_MAX)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Bytes that are kept.
async fn used(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select bytes from announcements_total").fetch_one(connection).await
}

/// A length as `bigint`.
fn size(length: usize) -> i64 {
    i64::try_from(length).expect("what is in memory is shorter than 2^63")
}
