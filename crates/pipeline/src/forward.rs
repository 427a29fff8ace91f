//! The relay's handler: publishes what an outbox held.

use metrics::Counter;
use treehook_event::{Body, Event, EventType, Failure, Handler, Packet, Publisher, Timestamp};

/// Publishes every event it is given.
pub struct Forward<P> {
    publisher: P,
    replayed: Counter,
}

impl<P> Forward<P> {
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

/// Passes on what need not be opened.
impl<P: Publisher + Publisher<Packet>> Handler<Packet> for Forward<P> {
    async fn handle(&self, packets: &[Packet]) -> Result<(), Failure> {
        self.publisher.publish(packets).await?;
        let events: usize = packets.iter().map(|packet| packet.events).sum();
        self.replayed.increment(events as u64);
        Ok(())
    }

    /// Opened after all, so that only what is at fault does not fit.
    async fn bury(&self, packet: &Packet, reason: &str) -> Result<(), Failure> {
        for event in &opened(packet) {
            let event = std::slice::from_ref(event);
            match self.handle(event).await {
                Err(Failure::Poison(_)) => Handler::<Event>::bury(self, &event[0], reason).await?,
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), Failure> {
        Handler::<Event>::ready(self).await
    }
}

/// A packet's events; one that cannot be read is an event that says so.
fn opened(packet: &Packet) -> Vec<Event> {
    packet.compression.decode_any(packet.body.clone(), Timestamp::default())
}
