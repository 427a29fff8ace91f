//! The undertaker's handler: keeps what the broker itself gave up on as dead letters.

use metrics::counter;
use treehook_event::{Body, DeadLetter, Event, EventStore, Failure, Handler};

use crate::Clock;

/// Why an event that fits is given up by its queue: too many workers died holding it.
pub(crate) const GIVEN_UP: &str = "delivery_limit";

/// Buries every event it is given.
#[derive(Debug)]
pub struct Bury<S> {
    store: S,
    clock: Clock,
}

impl<S: EventStore> Bury<S> {
    /// Buries in this store.
    pub fn new(store: S, clock: Clock) -> Self {
        Self { store, clock }
    }
}

impl<S: EventStore> Handler for Bury<S> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        let now = (self.clock)();
        let letters: Vec<DeadLetter> = events
            .iter()
            .map(|event| match &event.body {
                Body::Unfit { reason, .. } => DeadLetter::of(event, reason, now),
                _ => DeadLetter::of(event, GIVEN_UP, now),
            })
            .collect();
        self.store.bury(&letters).await?;
        for letter in &letters {
            counter!("treehook_events_dead_total", "reason" => letter.reason_label()).increment(1);
        }
        Ok(())
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.store.bury(&[DeadLetter::of(event, reason, (self.clock)())]).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.store.ready().await
    }
}
