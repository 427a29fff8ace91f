//! Taking events from the queue: in order, each once until it is settled or handed back.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::time::Duration;

use sqlx::query;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;
use treehook_event::{Compression, Consumer, Delivery, Event, Failure, Packet, Timestamp};

use crate::classify::failure;
use crate::queue::Queue;
use crate::rows::read;
use crate::suspicion::{self, Suspect, Suspicion};
use crate::take::{self, Take};

/// How soon an event is seen that another process published; our own are seen at once.
const POLL: Duration = Duration::from_millis(250);
/// How often an idle consumer asks whether the file is worth shrinking.
const SHRINK_EVERY: Duration = Duration::from_mins(1);
/// Rows that are settled but not deleted, at most: their ids are one parameter of a statement, of
/// some 100 KB.
const SETTLED_MAX: usize = 10_000;

/// How soon after a batch a worker takes the next one, where the queue holds many events and yet not a batch: each batch
/// costs a commit, whatever it holds, and what comes meanwhile shares one. A queue that holds more is emptied without a
/// rest, and one that holds little at once.
const REST: Duration = Duration::from_millis(250);
/// Events in the queue from which on it is worth a rest: with as many at each look, nobody would call it idle.
const REST_FROM: i64 = 50;

/// What settles a delivery of the queue.
#[derive(Debug)]
pub struct Receipt(i64);

/// Takes from one queue: events, or packets of them as they stand.
#[derive(Debug)]
pub struct QueueConsumer<T = Event> {
    queue: Queue,
    /// The last row that was handed out. What is settled is deleted, so everything up to here is
    /// either gone or in somebody's hand.
    cursor: i64,
    /// Rows that are settled, while they cannot be deleted.
    settled: BTreeSet<i64>,
    published: watch::Receiver<()>,
    shrink_at: Instant,
    suspicion: Suspicion,
    /// Between batches of a worker that are not full.
    rest: Duration,
    /// When the last batch was taken.
    taken_at: Option<Instant>,
    /// How many rows it had.
    rows_taken: usize,
    taken: PhantomData<fn() -> T>,
}

/// What a row is taken as.
pub trait Taken: Sized + Send + 'static {
    /// At least one.
    #[doc(hidden)]
    fn of(row: &Row<'_>) -> Vec<Self>;
}

/// A row of the queue.
#[doc(hidden)]
#[derive(Debug)]
pub struct Row<'r> {
    created_at: i64,
    routing_key: Option<&'r str>,
    events: i64,
    payload: &'r [u8],
    encoding: Option<&'r str>,
}

/// Before every row: those of a row that was taken apart come before the first one.
const START: i64 = i64::MIN;

impl<T: Taken> QueueConsumer<T> {
    pub(crate) fn new(queue: Queue, published: watch::Receiver<()>, suspicion: Suspicion) -> Self {
        let (settled, shrink_at) = (BTreeSet::new(), Instant::now() + SHRINK_EVERY);
        Self {
            queue,
            cursor: START,
            settled,
            published,
            shrink_at,
            suspicion,
            rest: REST,
            taken_at: None,
            rows_taken: 0,
            taken: PhantomData,
        }
    }

    /// What is there now.
    async fn look(
        &mut self,
        limit: usize,
        may_rest: bool,
    ) -> Result<Vec<Delivery<Receipt, T>>, Failure> {
        let readers = self.queue.database.readers();
        let settled = self.settled_ids();
        let Some(mut take) = self.what_to_take(&settled, limit).await? else {
            return Ok(Vec::new());
        };
        if may_rest && let Some(until) = self.rests_until(take, limit) {
            sleep_until(until).await;
            take = self.what_to_take(&settled, limit).await?.unwrap_or(take);
        }
        let Take { last, rows: rows_taken, .. } = take;
        if self.suspicion == Suspicion::Unknown {
            self.suspicion = self.begin(last).await;
        }
        if let Suspicion::UpTo(last_suspect) = self.suspicion {
            let (queue, cursor) = (self.queue.clone(), self.cursor);
            let next = async move { suspicion::next(&queue, cursor, last_suspect).await };
            if let Some(suspect) = self.queue.at_home(next).await? {
                return self.hand_out_alone(suspect).await;
            }
            self.suspicion = Suspicion::Trusting;
        }
        let rows = query(
            "select id, created_at, events, payload, routing_key, encoding from batches where id > ?1 and id <= ?2 \
             and id not in (select value from json_each(?3)) order by id",
        )
        .bind(self.cursor)
        .bind(last)
        .bind(&settled)
        .fetch_all(readers)
        .await
        .map_err(failure)?;
        // On a thread of its own: whoever handles the batch before has one that need not wait for it.
        let deliveries =
            spawn_blocking(move || rows.iter().map(delivery).collect::<Result<_, _>>())
                .await
                .map_err(|error| Failure::fatal("panic", error))??;
        // Nothing is awaited from here on: a receive that is dropped has not taken anything.
        (self.cursor, self.taken_at, self.rows_taken) = (last, Some(Instant::now()), rows_taken);
        Ok(deliveries)
    }

    /// When what is there is to be taken, if not now.
    fn rests_until(&self, take: Take, limit: usize) -> Option<Instant> {
        // Whoever is wary is a worker; a relay has its own reasons to rest.
        let is_calm = self.suspicion == Suspicion::Trusting;
        let until = self.taken_at? + self.rest;
        let is_full = usize::try_from(take.events).is_ok_and(|events| events >= limit);
        let is_worth_it = is_calm && take.is_all && !is_full && take.events >= REST_FROM;
        (is_worth_it && until > Instant::now()).then_some(until)
    }

    /// By the sizes of rows alone: no payload is read that would not be taken.
    async fn what_to_take(&self, settled: &str, limit: usize) -> Result<Option<Take>, Failure> {
        let readers = self.queue.database.readers();
        take::of(readers, self.cursor, settled, limit, self.rows_taken).await
    }

    /// What to think of the rows of a first batch, which goes up to `last`.
    async fn begin(&self, last: i64) -> Suspicion {
        let queue = self.queue.clone();
        match self.queue.at_home(async move { suspicion::begin(&queue).await }).await {
            Ok(false) => Suspicion::Trusting,
            Ok(true) => {
                warn!("workers have died over and over: what they had in hand comes one by one");
                Suspicion::UpTo(last)
            }
            // As on a full disk, where events can still be taken out.
            Err(failure) => {
                let cause = failure.cause();
                warn!(
                    reason = cause.reason,
                    "a death of this worker will not count: {}", cause.detail
                );
                Suspicion::Trusting
            }
        }
    }

    /// Nothing else is in hand meanwhile, so that nothing else is lost with a worker.
    async fn hand_out_alone(
        &mut self,
        suspect: Suspect,
    ) -> Result<Vec<Delivery<Receipt, T>>, Failure> {
        let row =
            query("select id, created_at, events, payload, routing_key, encoding from batches where id = ?1")
                .bind(suspect.id)
                .fetch_one(self.queue.database.readers())
                .await
                .map_err(failure)?;
        let delivery = Delivery { is_given_up: suspect.is_given_up, ..delivery(&row)? };
        self.cursor = suspect.id;
        Ok(vec![delivery])
    }

    /// Deletes what is settled. Where that fails the ids stay, and the next try includes them.
    async fn delete_settled(&mut self) -> Result<(), Failure> {
        if self.settled.is_empty() {
            return Ok(());
        }
        // One statement whatever their number, and so one transaction.
        let (ids, database) = (self.settled_ids(), self.queue.database.clone());
        let deleting = async move {
            query("delete from batches where id in (select value from json_each(?1))")
                .bind(ids)
                .execute(&mut *database.writer().await?)
                .await
                .map_err(failure)
        };
        // Whoever is not wary is no worker, and at home already.
        match self.suspicion {
            Suspicion::None => deleting.await?,
            _ => self.queue.at_home(deleting).await?,
        };
        self.settled.clear();
        Ok(())
    }

    /// As a parameter of JSON.
    fn settled_ids(&self) -> String {
        self.settled.iter().copied().collect::<serde_json::Value>().to_string()
    }

    /// Once in a while, and only while there is nothing else to do.
    async fn shrink(&mut self) {
        if Instant::now() < self.shrink_at {
            return;
        }
        self.shrink_at = Instant::now() + SHRINK_EVERY;
        let queue = self.queue.clone();
        if let Err(error) = self.queue.at_home(async move { queue.shrink().await }).await {
            warn!(reason = error.cause().reason, "the queue's file keeps its size: {error}");
        }
    }
}

impl<T: Taken> Consumer<T> for QueueConsumer<T> {
    type Receipt = Receipt;

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt, T>>, Failure> {
        let started = Instant::now();
        if let Err(failure) = self.delete_settled().await {
            // The rest of the queue need not wait for that, as long as it is remembered.
            let deliveries = if self.settled.len() < SETTLED_MAX {
                self.look(limit, false).await?
            } else {
                Vec::new()
            };
            return if deliveries.is_empty() { Err(failure) } else { Ok(deliveries) };
        }
        loop {
            // Before the look: what is published after it must wake us.
            self.published.mark_unchanged();
            // A look ahead, which does not wait for events, does not wait for more of them either.
            let deliveries = self.look(limit, !wait.is_zero()).await?;
            let left = wait.saturating_sub(started.elapsed());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            self.shrink().await;
            // Woken or timed out, the next step is another look. The sender lives in our queue.
            drop(timeout(POLL.min(left), self.published.changed()).await);
        }
    }

    /// `Ok` also when the rows cannot be deleted for now, as on a full disk: this consumer remembers
    /// them, never hands them out again, and deletes them with a later `settle` or `receive`. So a
    /// relay goes on with what it has not published instead of publishing the same rows over and
    /// over. `receive` reports the failure once it has nothing else to do. Another consumer, or this
    /// one after a restart, gets the rows again.
    async fn settle(&mut self, receipts: Vec<Receipt>) -> Result<(), Failure> {
        let is_news = self.settled.is_empty();
        self.settled.extend(receipts.into_iter().map(|Receipt(id)| id));
        match self.delete_settled().await {
            Err(Failure::Transient(cause) | Failure::Poison(cause)) => {
                if is_news {
                    warn!(reason = cause.reason, "settled rows stay for now: {}", cause.detail);
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn release(&mut self) {
        self.cursor = START;
    }
}

fn delivery<T: Taken>(row: &SqliteRow) -> Result<Delivery<Receipt, T>, Failure> {
    let events = T::of(&Row {
        created_at: read(row, "created_at")?,
        routing_key: read(row, "routing_key")?,
        events: read(row, "events")?,
        payload: read(row, "payload")?,
        encoding: read(row, "encoding")?,
    });
    Ok(Delivery { receipt: Receipt(read(row, "id")?), events, is_given_up: false })
}

impl Taken for Event {
    fn of(row: &Row<'_>) -> Vec<Self> {
        let stored_at = Timestamp::from_millis(row.created_at);
        Compression::named(row.encoding).decode_any(row.payload.to_vec(), stored_at)
    }
}

impl Taken for Packet {
    fn of(row: &Row<'_>) -> Vec<Self> {
        let Some(routing_key) = row.routing_key else { return Self::pack(&Event::of(row)) };
        let compression = Compression::named(row.encoding);
        let events = usize::try_from(row.events).unwrap_or_default();
        let body = row.payload.to_vec();
        vec![Self { routing_key: routing_key.into(), events, body, compression }]
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use treehook_event::Publisher as _;

    use super::*;
    use crate::queue::QueueLimits;

    async fn queue_of(folder: &TempDir, events: usize) -> Queue {
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        publish(&queue, events).await;
        queue
    }

    async fn publish(queue: &Queue, events: usize) {
        let events: Vec<Event> = (0..events)
            .map(|number| Event::unreadable(&number.to_le_bytes(), "small", Timestamp::default()))
            .collect();
        queue.publish(&events).await.unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_took_a_batch_lets_many_more_gather_and_few_are_not_kept_waiting() {
        let (folder, long) = (TempDir::new().unwrap(), Duration::from_hours(1));
        let queue = queue_of(&folder, 60).await;
        let mut worker = queue.wary_consumer();
        assert_eq!(received(&mut worker, 1000, long).await, 60);
        worker.rest = Duration::from_hours(1);
        publish(&queue, 3).await;
        assert_eq!(received(&mut worker, 1000, long).await, 3);
        publish(&queue, 60).await;
        let rested = timeout(Duration::from_millis(300), worker.receive(1000, long)).await;
        assert!(rested.is_err(), "it waits for more");
        // It has taken nothing by that; a look ahead takes what is there, and so does whoever finds a whole batch.
        assert_eq!(received(&mut worker, 40, Duration::ZERO).await, 60);
        publish(&queue, 60).await;
        assert_eq!(received(&mut worker, 60, long).await, 60);
        publish(&queue, 60).await;
        publish(&queue, 60).await;
        assert_eq!(received(&mut worker, 100, long).await, 60);
        worker.rest = Duration::from_millis(1);
        assert_eq!(received(&mut worker, 100, long).await, 60);
    }

    async fn received(worker: &mut QueueConsumer, limit: usize, wait: Duration) -> usize {
        let deliveries = worker.receive(limit, wait).await.unwrap();
        deliveries.iter().map(|delivery| delivery.events.len()).sum()
    }
}
