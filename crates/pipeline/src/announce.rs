//! A policy over a handler: what was handled is announced, at least once, so that others can follow.

use treehook_event::{Body, Event, Failure, Handler, Publisher};

use crate::Clock;

/// Publishes the events that the inner handler has applied. An event that comes twice is announced
/// twice: a crash between the commit and the announcement must not lose it.
#[derive(Debug)]
pub struct Announce<H, P> {
    /// What applies the events.
    pub inner: H,
    /// Where they are announced.
    pub publisher: P,
    /// The time of day.
    pub clock: Clock,
    /// What is older than this was buried, not applied.
    pub retention_ms: i64,
}

impl<H: Handler, P: Publisher> Announce<H, P> {
    /// An event that was applied is nobody's poison any more: what cannot be announced waits.
    async fn announce(&self, events: &[Event]) -> Result<(), Failure> {
        match self.publisher.publish(events).await {
            Err(Failure::Poison(cause)) => Err(Failure::Transient(cause)),
            outcome => outcome.map(|_| ()),
        }
    }
}

impl<H: Handler, P: Publisher> Handler for Announce<H, P> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.inner.handle(events).await?;
        let now = (self.clock)();
        let applied = |event: &&Event| {
            let is_event = !matches!(event.body, Body::Statement(_));
            is_event && event.unfit(now, self.retention_ms).is_none()
        };
        if events.iter().all(|event| applied(&event)) {
            self.announce(events).await
        } else {
            let applied: Vec<Event> = events.iter().filter(applied).cloned().collect();
            self.announce(&applied).await
        }
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.inner.bury(event, reason).await
    }

    /// Asks both: while nothing can be announced, a batch that is taken in hand is only handed back again, and each time
    /// costs it an attempt.
    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await?;
        self.announce(&[]).await
    }
}

#[cfg(test)]
mod tests {
    use treehook_event::{Accepted, Timestamp};

    use super::*;

    /// Applies whatever it is given.
    struct Applies;

    impl Handler for Applies {
        async fn handle(&self, _events: &[Event]) -> Result<(), Failure> {
            Ok(())
        }

        async fn bury(&self, _event: &Event, _reason: &str) -> Result<(), Failure> {
            unreachable!("nothing is at fault")
        }

        async fn ready(&self) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// Has no room.
    struct Full;

    impl Publisher for Full {
        async fn publish(&self, _events: &[Event]) -> Result<Accepted, Failure> {
            Err(Failure::transient("backlog_full", "no room"))
        }
    }

    #[tokio::test]
    async fn whoever_cannot_announce_is_not_ready() {
        let clock = || Timestamp::from_seconds(0);
        let handler = Announce { inner: Applies, publisher: Full, clock, retention_ms: 1 };
        let failure = handler.ready().await.expect_err("a batch would only come back");
        assert_eq!(failure.cause().reason, "backlog_full");
    }
}
