//! A policy over two publishers: broker first, outbox when the broker is unwell or slow to confirm.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};
use treehook_event::{Accepted, Event, Failure, Publisher};

/// The broker, and the outbox for its bad days.
#[derive(Debug)]
pub struct Spool<B, O> {
    broker: B,
    outbox: O,
    spooling: AtomicBool,
}

impl<B: Publisher, O: Publisher> Spool<B, O> {
    /// Both must be durable: either one's `Ok` becomes a 202.
    pub fn new(broker: B, outbox: O) -> Self {
        Self { broker, outbox, spooling: AtomicBool::new(false) }
    }
}

impl<B: Publisher, O: Publisher> Publisher for Spool<B, O> {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        match self.broker.publish(events).await {
            // Only an outage spills to disk: a poison event would be as poisonous there.
            Err(Failure::Transient(cause)) => {
                if !self.spooling.swap(true, Ordering::Relaxed) {
                    warn!(reason = cause.reason, "broker unavailable, spooling: {}", cause.detail);
                }
                self.outbox.publish(events).await.map(|_| Accepted::Spooled)
            }
            Ok(accepted) => {
                if self.spooling.load(Ordering::Relaxed)
                    && self.spooling.swap(false, Ordering::Relaxed)
                {
                    info!("broker available again");
                }
                Ok(accepted)
            }
            failed => failed,
        }
    }

    /// In an outage one more than the outbox takes: while that is written, the next is tried with the broker.
    fn at_once(&self) -> usize {
        if self.spooling.load(Ordering::Relaxed) {
            self.outbox.at_once().saturating_add(1)
        } else {
            self.broker.at_once()
        }
    }
}
