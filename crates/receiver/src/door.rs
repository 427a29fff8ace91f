//! What the front door has to know: its sources, its limits, and where accepted events go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use treehook_event::{Context, Intake, Source, Timestamp};

use crate::meters::Meters;

/// The front door, as the roof hands it over.
pub struct Door<I> {
    /// The configured sources, by name. Whoever is not here does not exist.
    pub sources: HashMap<String, Arc<Source>>,
    /// What parsing needs to know.
    pub context: Context,
    /// Where events go. It bounds its own waits: a delivery is answered when it is done.
    pub intake: I,
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// How much is taken in at once.
    pub limits: DoorLimits,
    /// What `/readyz` answers. Asked for by probes alone.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

/// How much the front door takes in at once, and how long it waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Most deliveries between their headers and their answer.
    pub max_in_flight: usize,
    /// Longest wait for a whole body: a sender that drips bytes holds a place all the while.
    pub body_timeout: Duration,
    /// Most bytes of bodies, and of the events made of them, held at once. Raised to four times
    /// `max_body` where it is less: as events a body of the limit may weigh that much.
    pub max_body_bytes_in_flight: usize,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            // A full array of 1,000 envelopes in Linktree's shape.
            max_body: 256 * 1024,
            max_in_flight: 4096,
            body_timeout: Duration::from_secs(10),
            // 4,096 of the largest bodies would be a gibibyte; deliveries in practice are 1 to
            // 20 KiB. A publisher may hold copies, so that this counts twice in a process of
            // 150 MiB.
            max_body_bytes_in_flight: 32 * 1024 * 1024,
        }
    }
}

/// Whether a delivery would be accepted now, and the state of what that depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether a delivery would be accepted, by broker or outbox.
    pub accepting: bool,
    /// The parts and their state, as `("broker", "down")`.
    pub parts: Vec<(&'static str, &'static str)>,
}

/// The door with what it counts while it is open.
pub(crate) struct Entrance<I> {
    pub(crate) door: Door<I>,
    /// Of each source, by its name.
    meters: HashMap<String, Meters>,
    strangers: Meters,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) body_bytes: Arc<Semaphore>,
    warned_at: AtomicI64,
}

impl<I: Intake> Entrance<I> {
    pub(crate) fn new(door: Door<I>) -> Self {
        let permits = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let limits = &door.limits;
        let bytes = limits.max_body_bytes_in_flight.max(limits.max_body.saturating_mul(4));
        let meters = |(name, source): (&String, &Arc<Source>)| {
            (name.clone(), Meters::of(Some(&source.name)))
        };
        Self {
            meters: door.sources.iter().map(meters).collect(),
            strangers: Meters::of(None),
            in_flight: permits(limits.max_in_flight),
            body_bytes: permits(bytes),
            warned_at: AtomicI64::new(i64::MIN),
            door,
        }
    }

    /// What counts deliveries to this name. Without a source it came to a path that nobody configured, whose name is the
    /// stranger's to choose and so no label.
    pub(crate) fn meters(&self, name: &str) -> &Meters {
        self.meters.get(name).unwrap_or(&self.strangers)
    }

    /// Whether it is this delivery that warns: one a second, or an outage would flood the log with
    /// one line per delivery.
    pub(crate) fn may_warn(&self) -> bool {
        let second = (self.door.now)().as_seconds();
        self.warned_at.swap(second, Ordering::Relaxed) != second
    }
}
