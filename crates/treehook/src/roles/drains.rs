//! What drains a queue: the relay, and the workers of either mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use treehook_event::Failure;
use treehook_pipeline::{
    Announce, Backoff, BurstFirst, Bury, Forward, GiveWay, Limits, Record, Spool, drain,
};
use treehook_rabbitmq::{Broker, Which};
use treehook_sqlite::Queue;

use super::Roles;
use super::turns::{Mood, take_turns};
use crate::books;
use crate::clock;
use crate::store::Store;
use crate::threads::{Threads, run_on};
use crate::upkeep::{Resilience, keep_caught_up, keep_up, prepared};
use crate::vitals::oldest_seconds;

/// Batches that a worker beside RabbitMQ and Postgres has in hand: two are archived at most, and meanwhile one is read, or
/// announced and settled.
const IN_HAND: usize = 3;

impl Roles {
    /// Gives way while `accepted` changes: to what comes in through the front door meanwhile.
    pub(super) fn start_relay(&mut self, queue: &Queue, broker: &Broker, accepted: Arc<AtomicU64>) {
        let replayed = counter!("treehook_outbox_replayed_total");
        let handler = GiveWay::new(Forward::new(broker.publisher(), replayed), accepted);
        let stop = self.process.stop.clone();
        let mut consumer = queue.relay();
        let resilience = self.resilience();
        self.process.spawn(async move {
            let mut backoff = Backoff::default();
            loop {
                let outcome = drain(&mut consumer, &handler, &Limits::default(), &stop).await;
                if let Some(end) = resilience.judge(outcome, &mut backoff, &stop).await {
                    return end;
                }
            }
        });
    }

    /// With a front door in this process nothing that fails later may close it: what it accepts is
    /// safe in the queue or the outbox, and gone with the sender's last retry if it is closed.
    pub(super) fn resilience(&self) -> Resilience {
        Resilience { has_front: self.vitals.queue.is_some() }
    }

    /// The schema is still to be looked at, by whoever gets the flag.
    fn expect_schema(&mut self) -> Arc<AtomicBool> {
        self.vitals.prepared = Arc::new(AtomicBool::new(false));
        Arc::clone(&self.vitals.prepared)
    }

    fn limits(&self) -> Limits {
        Limits { batch: self.config.batch_max, hold: self.config.hold, ..Limits::default() }
    }

    /// Behind the front door, which comes first: what waits in the queue is safe, and a delivery that
    /// is not answered in time is not. Works on `patient` threads, where it rests while more is `accepted` than it can
    /// count, and on `insistent` ones, without a rest, where that is too little.
    pub(super) fn start_embedded_worker(
        &mut self,
        (patient, insistent): (&Threads, &Threads),
        queue: Queue,
        store: Store,
        migrate: bool,
        accepted: Arc<AtomicU64>,
    ) {
        let worker = EmbeddedWorker {
            queue: queue.clone(),
            store,
            migrate,
            limits: self.limits(),
            retention_ms: self.config.retention_ms(),
            retention_days: self.config.retention_days(),
            resilience: self.resilience(),
            is_prepared: self.expect_schema(),
        };
        let (patient, insistent) = (patient.handle().clone(), insistent.handle().clone());
        let stop = self.process.stop.clone();
        self.process.spawn(async move {
            let work = |mood, turn| {
                let (threads, accepted) = match mood {
                    Mood::Patient => (&patient, Arc::clone(&accepted)),
                    // As if nothing came in meanwhile.
                    Mood::Insistent => (&insistent, Arc::default()),
                };
                run_on(threads, worker.clone().work(accepted, turn))
            };
            // A queue that cannot be read is told of elsewhere, and no reason to insist.
            let waits = || async {
                let seconds = queue.depth().await.ok().as_ref().and_then(oldest_seconds);
                seconds.map_or(Duration::ZERO, Duration::from_secs_f64)
            };
            take_turns(&stop, work, waits).await
        });
    }

    pub(super) fn start_worker(
        &mut self,
        broker: &Broker,
        server: &treehook_postgres::Store,
        migrate: bool,
    ) {
        let store = Store::Postgres(server.clone());
        let limits = Limits { in_hand: IN_HAND, ..self.limits() };
        let stop = self.process.stop.clone();
        let retention_ms = self.config.retention_ms();
        let backlog = server.backlog();
        let record = Record::new(store.clone(), clock::now, retention_ms);
        #[cfg(feature = "test-hooks")]
        let record = crate::test_hooks::Deadly::around(record);
        let handler = Announce {
            inner: record,
            // An alarm of the broker stops what we publish, and must not stop what empties it.
            publisher: Spool::new(broker.announcer(), backlog.clone()),
            clock: clock::now,
            retention_ms,
        };
        let undertaker = Bury::new(store.clone(), clock::now);
        let (retention_days, resilience) = (self.config.retention_days(), self.resilience());
        let mut events = broker.consumer(Which::Aggregate, self.config.prefetch);
        let mut dead = broker.consumer(Which::Dead, self.config.prefetch);
        let mut unannounced = backlog.consumer();
        let announcements = counter!("treehook_announcements_replayed_total");
        let announce_late = Forward::new(broker.announcer(), announcements);
        let is_prepared = self.expect_schema();
        self.process.spawn(async move {
            if !prepared(&store, migrate, &stop).await? {
                return Ok(());
            }
            is_prepared.store(true, Ordering::Relaxed);
            let mut backoff = Backoff::default();
            loop {
                let keep = keep_up(&store, retention_days, &stop);
                let work = drain(&mut events, &handler, &limits, &stop);
                let bury = drain(&mut dead, &undertaker, &limits, &stop);
                let late = drain(&mut unannounced, &announce_late, &limits, &stop);
                let fold = keep_caught_up(&store, &stop);
                let count = books::keep_counting(&store, &stop);
                let outcome = tokio::try_join!(work, bury, late, keep, fold, count).map(|_| ());
                if let Some(end) = resilience.judge(outcome, &mut backoff, &stop).await {
                    return end;
                }
            }
        });
    }
}

/// What counts the events of a process that writes its queue itself.
#[derive(Clone)]
struct EmbeddedWorker {
    queue: Queue,
    store: Store,
    migrate: bool,
    limits: Limits,
    retention_ms: i64,
    retention_days: u32,
    resilience: Resilience,
    is_prepared: Arc<AtomicBool>,
}

impl EmbeddedWorker {
    /// Works until told to stop, on the threads that it is called on, and on those that write its store meanwhile. Rests
    /// while more is `accepted` than it can count.
    async fn work(self, accepted: Arc<AtomicU64>, stop: CancellationToken) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        let store = loop {
            match self.store.moved_here().await {
                Ok(store) => break store,
                Err(failure) => {
                    let ended = self.resilience.judge(Err(failure), &mut backoff, &stop).await;
                    if let Some(end) = ended {
                        return end;
                    }
                }
            }
        };
        // Once: what is wrong at the start ends the process, and what is wrong later, with the front door open, is waited out.
        if !self.is_prepared.load(Ordering::Relaxed) {
            if !prepared(&store, self.migrate, &stop).await? {
                return Ok(());
            }
            self.is_prepared.store(true, Ordering::Relaxed);
        }
        let record = Record::new(store.clone(), clock::now, self.retention_ms);
        #[cfg(feature = "test-hooks")]
        let record = crate::test_hooks::Deadly::around(record);
        let record = BurstFirst::new(record, accepted);
        let mut consumer = self.queue.wary_consumer();
        let end = loop {
            let keep = keep_up(&store, self.retention_days, &stop);
            let work = drain(&mut consumer, &record, &self.limits, &stop);
            let fold = keep_caught_up(&store, &stop);
            let count = books::keep_counting(&store, &stop);
            let outcome = tokio::try_join!(work, keep, fold, count).map(|_| ());
            if let Some(end) = self.resilience.judge(outcome, &mut backoff, &stop).await {
                break end;
            }
        };
        if let Err(failure) = self.queue.end_well().await {
            let cause = failure.cause();
            warn!(reason = cause.reason, "this end counts as a death: {}", cause.detail);
        }
        end
    }
}
