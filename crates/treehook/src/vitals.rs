//! How the parts of this process are: kept up to date in the background, read by probes and status.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use metrics::gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use treehook_event::{Accepted, Event, EventStore as _, Failure, Intake, Publisher};
use treehook_rabbitmq::{Broker, BrokerState};
use treehook_receiver::Readiness;
use treehook_sqlite::{Depth, Queue};

use crate::clock;
use crate::store::Store;

/// How often depths and the database are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The parts, as last seen.
#[derive(Clone)]
pub(crate) struct Vitals {
    /// Events this process has accepted, if it accepts any.
    pub(crate) accepted: Option<Arc<AtomicU64>>,
    /// The local queue or outbox, if this process has one.
    pub(crate) queue: Option<Outbox>,
    /// The broker, if this deployment has one.
    pub(crate) broker: Option<Broker>,
    /// Whether the database answered last, if this process uses one.
    pub(crate) database_up: Option<Arc<AtomicBool>>,
    /// Whether the schema is there. Until then only a sign of life is asked for.
    pub(crate) prepared: Arc<AtomicBool>,
}

/// The local queue, its limit, and its depth as last seen; none when it could not be read.
#[derive(Clone)]
pub(crate) struct Outbox {
    /// The queue itself.
    pub(crate) queue: Queue,
    /// Bytes it may hold.
    pub(crate) max_bytes: u64,
    /// Whether workers drain it here: then it is no outbox but the queue.
    pub(crate) is_queue: bool,
    depth: watch::Sender<Option<Depth>>,
    /// Set by a publish that was refused, until there is room again.
    refused: Arc<AtomicBool>,
    data_dir: PathBuf,
}

/// A publisher to the outbox that remembers when it was refused.
#[derive(Clone)]
pub(crate) struct Watched {
    queue: Queue,
    refused: Arc<AtomicBool>,
}

impl Publisher for Watched {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let outcome = self.queue.publish(events).await;
        self.refused.store(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    fn at_once(&self) -> usize {
        self.queue.at_once()
    }
}

/// What a probe writes, in bytes: about the largest delivery.
const PROBE_BYTES: usize = 256 << 10;

/// Whether there is room on the disk again. Nobody may send while we say that we are not ready, so
/// the next publish cannot be what finds out.
fn has_room(dir: &Path) -> bool {
    let path = dir.join("treehook.probe");
    let written = std::fs::write(&path, vec![0; PROBE_BYTES]).is_ok();
    // A probe that was never made need not be removed.
    written & std::fs::remove_file(&path).is_ok()
}

impl Outbox {
    /// Nothing seen yet counts as empty: opening it has just succeeded.
    pub(crate) fn new(queue: Queue, data_dir: PathBuf, max_bytes: u64, is_queue: bool) -> Self {
        let (depth, _) = watch::channel(Some(Depth::default()));
        Self { queue, max_bytes, is_queue, depth, refused: Arc::default(), data_dir }
    }

    /// The publisher to it.
    pub(crate) fn publisher(&self) -> Watched {
        Watched { queue: self.queue.clone(), refused: Arc::clone(&self.refused) }
    }

    /// The depth as last seen.
    pub(crate) fn depth(&self) -> Option<Depth> {
        *self.depth.borrow()
    }

    fn state(&self) -> &'static str {
        match &*self.depth.borrow() {
            None => "failing",
            Some(depth) if depth.bytes >= self.max_bytes => "full",
            Some(_) if self.refused.load(Ordering::Relaxed) => "full",
            Some(_) => "ok",
        }
    }

    async fn look(&self) {
        let depth = match self.queue.depth().await {
            Ok(depth) => Some(depth),
            Err(failure) => {
                if self.depth.borrow().is_some() {
                    warn!(reason = failure.cause().reason, "outbox: {}", failure.cause().detail);
                }
                None
            }
        };
        if let Some(depth) = &depth {
            show(depth);
            let emptied = depth.bytes <= self.max_bytes / 10 * 9;
            if self.refused.load(Ordering::Relaxed) && emptied {
                let dir = self.data_dir.clone();
                let room = tokio::task::spawn_blocking(move || has_room(&dir)).await;
                self.refused.store(!room.unwrap_or(false), Ordering::Relaxed);
            }
        }
        self.depth.send_replace(depth);
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn show(depth: &Depth) {
    gauge!("treehook_outbox_events").set(depth.events as f64);
    gauge!("treehook_outbox_bytes").set(depth.bytes as f64);
    gauge!("treehook_outbox_oldest_seconds").set(oldest_seconds(depth).unwrap_or(0.0));
}

/// Age of the oldest event in it, in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of an age")]
pub(crate) fn oldest_seconds(depth: &Depth) -> Option<f64> {
    depth.oldest.map(|oldest| clock::now().millis_since(oldest).max(0) as f64 / 1000.0)
}

impl Vitals {
    /// Of a process without any part.
    pub(crate) fn none() -> Self {
        Self {
            accepted: None,
            queue: None,
            broker: None,
            database_up: None,
            prepared: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The state of the broker in one word.
    pub(crate) fn broker_word(&self) -> &'static str {
        match &self.broker {
            None => "none",
            Some(broker) => match *broker.state().borrow() {
                BrokerState::Up => "up",
                BrokerState::Down => "down",
                BrokerState::Blocked => "blocked",
            },
        }
    }

    /// The state of the database in one word.
    pub(crate) fn database_word(&self) -> &'static str {
        match &self.database_up {
            None => "none",
            Some(up) if up.load(Ordering::Relaxed) => "up",
            Some(_) => "down",
        }
    }

    /// Whether a delivery would be accepted: by the broker, else by the outbox.
    pub(crate) fn readiness(&self) -> Readiness {
        let outbox = self.queue.as_ref().map_or("none", Outbox::state);
        let accepting = outbox == "ok" || self.broker_word() == "up";
        let mut parts = vec![("outbox", outbox)];
        if self.broker.is_some() {
            parts.push(("broker", self.broker_word()));
        }
        if self.database_up.is_some() {
            parts.push(("database", self.database_word()));
        }
        Readiness { accepting, parts }
    }

    /// Keeps looking until told to stop.
    pub(crate) async fn watch(
        self,
        store: Option<Store>,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        while !stop.is_cancelled() {
            if let Some(outbox) = &self.queue {
                outbox.look().await;
            }
            if let (Some(store), Some(up)) = (&store, &self.database_up) {
                look_at_database(store, up, self.prepared.load(Ordering::Relaxed)).await;
            }
            tokio::select! {
                () = stop.cancelled() => (),
                () = tokio::time::sleep(EVERY) => (),
            }
        }
        Ok(())
    }
}

async fn look_at_database(store: &Store, up: &AtomicBool, prepared: bool) {
    let answered = match store.ping().await {
        Ok(()) if prepared => store.tally().await.map(|tally| tally.dead),
        Ok(()) => Ok(0),
        Err(failure) => Err(failure),
    };
    let is_up = answered.is_ok();
    match (up.swap(is_up, Ordering::Relaxed), &answered) {
        (true, Err(failure)) => {
            warn!(reason = failure.cause().reason, "database: {}", failure.cause().detail);
        }
        (false, Ok(_)) => info!("database answers"),
        (true, Ok(_)) | (false, Err(_)) => (),
    }
    gauge!("treehook_database_up").set(f64::from(u8::from(is_up)));
    if let Ok(dead) = answered {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        gauge!("treehook_dead_letters").set(dead as f64);
    }
}

/// An intake that counts what it accepted.
#[derive(Debug)]
pub(crate) struct Counted<I> {
    /// What takes it in.
    pub(crate) inner: I,
    /// Events so far.
    pub(crate) accepted: Arc<AtomicU64>,
}

impl<I: Intake> Intake for Counted<I> {
    async fn take_in(
        &self,
        events: Vec<Event>,
        hold: Box<dyn Any + Send>,
    ) -> Result<Accepted, Failure> {
        let count = events.len() as u64;
        let accepted = self.inner.take_in(events, hold).await?;
        self.accepted.fetch_add(count, Ordering::Relaxed);
        Ok(accepted)
    }
}
