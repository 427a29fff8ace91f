//! Taking announcements from the backlog: in order, under a lease, until they are settled or handed
//! back.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use treehook_event::{Compression, Consumer, Delivery, Failure};

use crate::columns::timestamp;
use crate::connect::{Store, bounded};
use crate::store::QUERY_MAX;

/// How soon an announcement is seen that another process kept; our own are seen at once.
const POLL: Duration = Duration::from_secs(1);
/// Encoded bytes taken at once, beyond the first row: what the broker refused a moment ago is given
/// back in pieces.
const RECEIVE_BYTES_MAX: i64 = 1 << 20;

/// What settles a delivery of the backlog.
#[derive(Debug)]
pub struct BacklogReceipt(i64);

/// Takes from the backlog. What it holds is nobody else's for 60 s after its latest `receive`, so that
/// several workers may drain at once; one that is gone loses its claims by then.
#[derive(Debug)]
pub struct BacklogConsumer {
    store: Store,
    /// Whose claims they are: 32 hexadecimal digits.
    name: String,
    /// Rows that were handed out and are not settled.
    held: BTreeSet<i64>,
    announced: watch::Receiver<()>,
}

impl BacklogConsumer {
    pub(super) fn new(store: Store) -> Self {
        let announced = store.shared.announced.subscribe();
        let name = format!("{:032x}", rand::random::<u128>());
        Self { store, name, held: BTreeSet::new(), announced }
    }

    /// What is free now.
    async fn claim(&mut self, limit: usize) -> Result<Vec<Delivery<BacklogReceipt>>, Failure> {
        let held: Vec<i64> = self.held.iter().copied().collect();
        let (store, name) = (&self.store, &self.name);
        let mut rows =
            bounded!(store, QUERY_MAX, |connection| claim(connection, name, &held, limit))?;
        rows.sort_unstable_by_key(|row| row.id);
        // Nothing is awaited from here on: what a dropped receive has claimed is not held, and comes
        // with the next one.
        self.held.extend(rows.iter().map(|row| row.id));
        Ok(rows.into_iter().map(Claimed::into_delivery).collect())
    }
}

impl Consumer for BacklogConsumer {
    type Receipt = BacklogReceipt;

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<BacklogReceipt>>, Failure> {
        let started = Instant::now();
        loop {
            // Before the look: what is kept after it must wake us.
            self.announced.mark_unchanged();
            let deliveries = self.claim(limit).await?;
            let left = wait.saturating_sub(started.elapsed());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            // Woken or timed out, the next step is another look. The sender lives in our store.
            drop(timeout(POLL.min(left), self.announced.changed()).await);
        }
    }

    async fn settle(&mut self, receipts: Vec<BacklogReceipt>) -> Result<(), Failure> {
        if receipts.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = receipts.into_iter().map(|BacklogReceipt(id)| id).collect();
        // No longer held, whatever comes of it: what could not be settled is handed out again.
        for id in &ids {
            self.held.remove(id);
        }
        let store = &self.store;
        bounded!(store, QUERY_MAX, |connection| settle(connection, &ids))
    }

    async fn release(&mut self) {
        self.held.clear();
        let (store, name) = (&self.store, &self.name);
        let released = async { bounded!(store, QUERY_MAX, |connection| release(connection, name)) };
        if let Err(failure) = released.await {
            let reason = failure.cause().reason;
            tracing::warn!(reason, "announcements are handed back when the claims on them lapse");
        }
    }
}

#[derive(FromRow)]
struct Claimed {
    id: i64,
    batch: Vec<u8>,
    created_at: OffsetDateTime,
}

impl Claimed {
    fn into_delivery(self) -> Delivery<BacklogReceipt> {
        let events = Compression::None.decode_any(self.batch, timestamp(self.created_at));
        Delivery { receipt: BacklogReceipt(self.id), events, is_given_up: false }
    }
}

/// Claims the first rows that nobody holds, as far as they fit the limits, and at least one; prolongs
/// the claims on what is held. Sizes first, so that no batch is read that would not be taken.
async fn claim(
    connection: &mut PgConnection,
    name: &str,
    held: &[i64],
    limit: usize,
) -> sqlx::Result<Vec<Claimed>> {
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    sqlx::query_as(
        "with free as (
             select id, events, bytes from announcements
             where (claimed_until is null or claimed_until <= now() or claimed_by = $1::uuid)
                 and id <> all($2::bigint[])
             order by id limit $3
             for update skip locked
         ), summed as (
             select id, row_number() over so_far as place,
                 sum(events) over so_far as events, sum(bytes) over so_far as bytes
             from free window so_far as (order by id)
         ), prolonged as (
             update announcements set claimed_until = now() + interval '60 seconds'
             where claimed_by = $1::uuid and id = any($2::bigint[])
         )
         update announcements t
             set claimed_by = $1::uuid, claimed_until = now() + interval '60 seconds'
         from summed s
         where t.id = s.id and (s.place = 1 or (s.events <= $3 and s.bytes <= $4))
         returning t.id, t.batch, t.created_at",
    )
    .bind(name)
    .bind(held)
    .bind(limit)
    .bind(RECEIVE_BYTES_MAX)
    .fetch_all(connection)
    .await
}

/// Removes rows, in order of id: whoever else was handed the same ones after a lease had lapsed does
/// not wait for us in a circle.
async fn settle(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "with settled as (
             select id from announcements where id = any($1::bigint[]) order by id for update
         ), gone as (
             delete from announcements t using settled s where t.id = s.id returning t.bytes
         )
         update announcements_total
         set bytes = bytes - (select coalesce(sum(bytes), 0)::bigint from gone)",
    )
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives up every claim.
async fn release(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update announcements set claimed_by = null, claimed_until = null
         where claimed_by = $1::uuid",
    )
    .bind(name)
    .execute(connection)
    .await?;
    Ok(())
}
