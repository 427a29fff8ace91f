//! The relay's handler: publishes what an outbox held.

use metrics::Counter;
use treehook_event::{Body, Event, EventType, Failure, Handler, Publisher};

/// Publishes every event it is given.
pub struct Forward<P> {
    publisher: P,
    replayed: Counter,
}

impl<P: Publisher> Forward<P> {
    /// Forwards to this publisher, and counts what went out.
    pub fn new(publisher: P, replayed: Counter) -> Self {
        Self { publisher, replayed }
    }
}

impl<P: Publisher> Handler for Forward<P> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.publisher.publish(events).await?;
        self.replayed.increment(events.len() as u64);
        Ok(())
    }

    /// A receiver has no store to bury in: the event goes on as one that does not fit, and the
    /// worker buries it under this reason.
    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        let event_type = EventType::given(event.event_type());
        let body = Body::Unfit { event_type, reason: reason.to_owned() };
        self.publisher.publish(&[Event { body, ..event.clone() }]).await.map(|_| ())
    }

    async fn ready(&self) -> Result<(), Failure> {
        // Publishing nothing asks the publisher whether it could.
        self.publisher.publish(&[]).await.map(|_| ())
    }
}
