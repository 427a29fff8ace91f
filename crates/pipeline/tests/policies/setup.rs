//! Events, and a publisher that fails or holds what it is given when it is told to.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use treehook_event::{
    Accepted, Body, Event, EventType, Failure, Identity, Publisher, ReceiverId, SourceName,
    Timestamp,
};
use treehook_pipeline::{Ledger, Unkept};

pub(crate) fn event(identity: &str) -> Event {
    Event {
        source: SourceName::new("linktree").unwrap(),
        identity: Identity::given(identity),
        occurred_at: Timestamp::from_seconds(1),
        received_at: Timestamp::from_seconds(1),
        entry: None,
        body: Body::Unknown { event_type: EventType::given("x") },
        payload: "{}".into(),
    }
}

pub(crate) fn names(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.identity.to_string()).collect()
}

/// Keeps what is published, unless told to fail; holds publishes while the gate is closed.
pub(crate) struct Shelf {
    pub(crate) at_once: usize,
    pub(crate) batches: Mutex<Vec<Vec<String>>>,
    pub(crate) failure: Mutex<Option<Failure>>,
    pub(crate) gate: watch::Sender<bool>,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self {
            at_once: usize::MAX,
            batches: Mutex::default(),
            failure: Mutex::default(),
            gate: watch::Sender::new(true),
        }
    }

    pub(crate) fn failing(failure: Failure) -> Self {
        let shelf = Self::new();
        *shelf.failure.lock().unwrap() = Some(failure);
        shelf
    }

    pub(crate) fn batches(&self) -> Vec<Vec<String>> {
        self.batches.lock().unwrap().clone()
    }
}

impl Publisher for &'static Shelf {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.unwrap();
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        self.batches.lock().unwrap().push(names(events));
        Ok(Accepted::Queued)
    }

    fn at_once(&self) -> usize {
        self.at_once
    }
}

/// Lives as long as the test process: policies own their publishers.
pub(crate) fn leaked<T>(publisher: T) -> &'static T {
    Box::leak(Box::new(publisher))
}

pub(crate) fn outage() -> Failure {
    Failure::transient("broker_down", "no broker")
}

/// A ledger that nobody reads.
pub(crate) fn unaudited() -> Arc<Ledger<Unkept>> {
    Arc::new(Ledger::start(ReceiverId(1), 1, Vec::new(), Unkept))
}
