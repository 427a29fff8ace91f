//! What is sent: a few events in deliveries, some of them twice, some of them with a fault.

use rand::RngExt as _;
use rand::rngs::StdRng;
use treehook_event::{Body, Event, EventType, Identity, SourceName, Timestamp};

/// Events of a run at most: a fault needs few, and a run has to be short.
pub(crate) const EVENTS_MAX: usize = 12;

/// What is wrong with an event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Its receiver has found that it cannot be counted.
    Unfit,
    /// The database refuses it.
    RefusedByDatabase,
    /// The broker refuses it.
    RefusedByBroker,
}

/// The traffic of a run.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) faults: Vec<Fault>,
    /// Which events each delivery holds, one after the other or at once.
    pub(crate) deliveries: Vec<Vec<usize>>,
}

impl Traffic {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        let count = rng.random_range(3..=EVENTS_MAX);
        let share = if rng.random_bool(0.3) { 0.2 } else { 0.0 };
        let faults: Vec<Fault> = (0..count)
            .map(|_| match (rng.random_bool(share), rng.random_range(0..3)) {
                (false, _) => Fault::None,
                (true, 0) => Fault::Unfit,
                (true, 1) => Fault::RefusedByDatabase,
                (true, _) => Fault::RefusedByBroker,
            })
            .collect();
        let mut deliveries = Vec::new();
        let mut next = 0;
        while next < count {
            let size = rng.random_range(1..=3).min(count - next);
            let mut events: Vec<usize> = (next..next + size).collect();
            next += size;
            if rng.random_bool(0.1) {
                // The same event twice in one delivery.
                events.push(events[0]);
            }
            if rng.random_bool(0.2) {
                deliveries.push(events.clone());
            }
            deliveries.push(events);
        }
        Self { faults, deliveries }
    }
}

/// The event of this number.
pub(crate) fn event(number: usize, fault: Fault) -> Event {
    let event_type = EventType::trusted("tip.received");
    let body = match fault {
        Fault::None | Fault::RefusedByDatabase | Fault::RefusedByBroker => {
            Body::Unknown { event_type }
        }
        Fault::Unfit => Body::Unfit { event_type, reason: "missing_field:link_id".into() },
    };
    Event {
        source: SourceName::trusted("linktree"),
        identity: Identity::trusted(&number.to_string()),
        occurred_at: now(),
        received_at: now(),
        entry: None,
        body,
        payload: "{}".into(),
    }
}

/// The number of an event, by its identity.
pub(crate) fn number_of(identity: &Identity) -> usize {
    identity.as_str().parse().expect("events of a run are numbered")
}

/// No time of day passes in a run: nothing expires.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_000_000)
}
