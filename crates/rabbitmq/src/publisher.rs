//! Publishing: `Ok` means that the broker has confirmed every message of the call.

use std::sync::Arc;
use std::time::Duration;

use lapin::Confirmation;
use lapin::options::BasicPublishOptions;
use metrics::histogram;
use tokio::time::{Instant, timeout_at};
use treehook_event::{Accepted, Event, Failure, Packet, Publisher};

use crate::broker::Core;
use crate::classify::classify;
use crate::link::{Lease, Link, late};
use crate::message::{properties, routing_key, traceparent};

/// Publishes events to the workers. Fails at once while there is no broker, so that the caller can
/// put them elsewhere.
#[derive(Clone)]
pub struct EventPublisher(Outlet);

/// Announces applied events. Confirmed too, but nobody needs to listen.
#[derive(Clone)]
pub struct Announcer(Outlet);

impl EventPublisher {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let exchange = core.settings.topology.events_exchange.clone();
        Self(Outlet { core, exchange, mandatory: true })
    }
}

impl Announcer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let exchange = core.settings.topology.applied_exchange.clone();
        Self(Outlet { core, exchange, mandatory: false })
    }
}

impl Publisher for EventPublisher {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let compression = self.0.core.settings.compression;
        let compressed = |packet: Packet| packet.compressed(compression);
        self.0.publish(|| Packet::pack(events).into_iter().map(compressed).collect()).await
    }
}

/// What an outbox held goes on unopened, the small together.
impl Publisher<Packet> for EventPublisher {
    async fn publish(&self, packets: &[Packet]) -> Result<Accepted, Failure> {
        let compression = self.0.core.settings.compression;
        self.0.publish(|| Packet::join(packets, compression)).await
    }
}

/// Never compressed: whoever binds a queue need not know of it.
impl Publisher for Announcer {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        self.0.publish(|| Packet::pack(events)).await
    }
}

/// An exchange, and whether somebody must have bound a queue to it.
#[derive(Clone)]
struct Outlet {
    core: Arc<Core>,
    exchange: String,
    mandatory: bool,
}

impl Outlet {
    /// Packs nothing while there is no broker to publish to.
    async fn publish(&self, packed: impl FnOnce() -> Vec<Packet>) -> Result<Accepted, Failure> {
        let link = self.core.board.link()?;
        let messages = packed();
        if messages.is_empty() {
            return Ok(Accepted::Queued);
        }
        let started = Instant::now();
        let deadline = started + self.patience(&messages);
        tokio::select! {
            biased;
            failure = self.core.board.lost(&link) => Err(failure),
            outcome = self.deliver(&link, &messages, deadline) => {
                outcome?;
                link.mark_worked();
                histogram!("treehook_publish_confirm_seconds").record(started.elapsed());
                Ok(Accepted::Queued)
            }
        }
    }

    /// How long this publish may take: a large one has to go over a slow link first.
    fn patience(&self, messages: &[Packet]) -> Duration {
        const BYTES_PER_SECOND: usize = 512 << 10;
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        let millis = bytes.saturating_mul(1000) / BYTES_PER_SECOND;
        self.core.settings.timeouts.confirm
            + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).min(30_000))
    }

    /// Sends all messages, then waits for all confirms.
    async fn deliver(
        &self,
        link: &Link,
        messages: &[Packet],
        deadline: Instant,
    ) -> Result<(), Failure> {
        let lease = link.lease(deadline).await?;
        let verdicts = match timeout_at(deadline, self.exchange(&lease, messages)).await {
            Ok(Ok(verdicts)) => verdicts,
            Ok(Err(error)) => return Err(link.broken_by(classify(&error))),
            // Whoever is next must not wait as long for the same silence.
            Err(_) => return Err(link.broken_by(late())),
        };
        match verdicts.iter().try_for_each(judge) {
            // Somebody took the binding or the queue away: a new connection declares it again.
            Err(failure) if failure.cause().reason == UNROUTABLE => Err(link.broken_by(failure)),
            // A channel that the broker opened while the queue's leader was lost may refuse for ever,
            // and stays behind.
            Err(failure) => Err(failure),
            Ok(()) => {
                lease.give_back();
                Ok(())
            }
        }
    }

    async fn exchange(
        &self,
        lease: &Lease<'_>,
        messages: &[Packet],
    ) -> lapin::Result<Vec<Confirmation>> {
        let now = (self.core.settings.now)();
        let trace = traceparent();
        let options = BasicPublishOptions { mandatory: self.mandatory, immediate: false };
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            let sent = lease.channel().basic_publish(
                self.exchange.as_str().into(),
                routing_key(message),
                options,
                &message.body,
                properties(message, now, &trace),
            );
            confirms.push(sent.await?);
        }
        let mut verdicts = Vec::with_capacity(confirms.len());
        for confirm in confirms {
            verdicts.push(confirm.await?);
        }
        Ok(verdicts)
    }
}

const UNROUTABLE: &str = "broker_unroutable";

/// What one confirm says. An acknowledgement that carries a return is no acknowledgement, whichever
/// message the return was paired with: somewhere in this call an event went nowhere.
fn judge(confirmation: &Confirmation) -> Result<(), Failure> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
            Err(Failure::transient(UNROUTABLE, "no queue is bound for the events"))
        }
        Confirmation::Nack(None) => {
            Err(Failure::transient("broker_nack", "the broker could not take the events"))
        }
        Confirmation::NotRequested => {
            Err(Failure::transient("broker_down", "the channel does not confirm"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_acknowledgement_is_a_confirm() {
        assert!(judge(&Confirmation::Ack(None)).is_ok());
        for (confirmation, reason) in
            [(Confirmation::Nack(None), "broker_nack"), (Confirmation::NotRequested, "broker_down")]
        {
            assert_eq!(judge(&confirmation).unwrap_err().cause().reason, reason);
        }
    }
}
