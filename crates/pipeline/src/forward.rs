//! The relay's handler: publishes what the outbox held.

use metrics::counter;
use treehook_event::{Body, Event, EventType, Failure, Handler, Publisher};

/// Publishes every event it is given.
#[derive(Debug)]
pub struct Forward<P> {
    publisher: P,
}

impl<P: Publisher> Forward<P> {
    /// Forwards to this publisher.
    pub fn new(publisher: P) -> Self {
        Self { publisher }
    }
}

impl<P: Publisher> Handler for Forward<P> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.publisher.publish(events).await?;
        counter!("treehook_outbox_replayed_total").increment(events.len() as u64);
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
