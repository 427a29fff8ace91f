//! Consuming: at least once, over a connection that comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};
use treehook_event::{Consumer, Delivery, Failure};

use crate::backoff::Backoff;
use crate::broker::Core;
use crate::subscription::Subscription;
use crate::topology::Which;

/// What settles a delivery: its tag, good on the connection that brought it alone.
#[derive(Debug)]
pub struct Receipt {
    pub(crate) generation: u64,
    pub(crate) tag: u64,
}

/// Consumes from one queue. Dropped, everything that is not settled goes back to the broker.
pub struct EventConsumer {
    core: Arc<Core>,
    queue: Which,
    prefetch: u16,
    subscription: Option<Subscription>,
    /// Counts subscriptions, so that a receipt knows its own.
    generation: u64,
    backoff: Backoff,
    /// When to try again, and what went wrong last.
    trouble: Option<(Instant, Failure)>,
}

impl EventConsumer {
    pub(crate) fn new(core: Arc<Core>, queue: Which, prefetch: u16) -> Self {
        Self {
            core,
            queue,
            // AMQP takes 0 for "no limit", and nothing here is without one.
            prefetch: prefetch.max(1),
            subscription: None,
            generation: 0,
            backoff: Backoff::default(),
            trouble: None,
        }
    }

    /// The live subscription; makes one, again and again until the deadline, if there is none.
    async fn subscribed(&mut self, deadline: Instant) -> Result<&mut Subscription, Failure> {
        while self.subscription.is_none() {
            if let Some((retry_at, failure)) = &self.trouble {
                let (retry_at, failure) = (*retry_at, failure.clone());
                sleep_until(retry_at.min(deadline)).await;
                if retry_at > deadline {
                    return Err(failure);
                }
                self.trouble = None;
            }
            self.subscribe().await?;
        }
        Ok(self.subscription.as_mut().expect("the loop ends with a subscription"))
    }

    /// One attempt. A transient failure only sets the time of the next.
    async fn subscribe(&mut self) -> Result<(), Failure> {
        let generation = self.generation + 1;
        let settings = &self.core.settings;
        match Subscription::open(settings, self.queue, self.prefetch, generation).await {
            Ok(subscription) => {
                if self.generation > 0 {
                    counter!("treehook_broker_reconnects_total").increment(1);
                }
                info!(queue = settings.topology.queue(self.queue), "consuming");
                self.generation = generation;
                self.subscription = Some(subscription);
                Ok(())
            }
            Err(Failure::Fatal(cause)) => Err(Failure::Fatal(cause)),
            Err(failure) => {
                debug!("cannot consume for now: {failure}");
                self.trouble = Some((Instant::now() + self.backoff.next(), failure));
                Ok(())
            }
        }
    }

    /// The subscription is of no use any more: what it brought comes again over the next one.
    fn lose(&mut self, failure: Failure) -> Failure {
        if self.subscription.take().is_some_and(|subscription| subscription.was_good()) {
            self.backoff.reset();
        }
        self.trouble = Some((Instant::now() + self.backoff.next(), failure.clone()));
        failure
    }
}

impl Consumer for EventConsumer {
    type Receipt = Receipt;

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, Failure> {
        let deadline = Instant::now() + wait;
        match self.subscribed(deadline).await?.take(limit, deadline).await {
            Ok(deliveries) => Ok(deliveries),
            Err(failure) => Err(self.lose(failure)),
        }
    }

    async fn settle(&mut self, receipts: Vec<Receipt>) -> Result<(), Failure> {
        let limit = self.core.settings.timeouts.confirm;
        let Some(subscription) = &mut self.subscription else {
            return Ok(());
        };
        let outcome =
            timeout(limit, subscription.acknowledge(&receipts)).await.unwrap_or_else(|_| {
                let detail = format!("the broker took no acknowledgement for {limit:?}");
                Err(Failure::transient("broker_down", detail))
            });
        outcome.map_err(|failure| self.lose(failure))
    }

    async fn release(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            subscription.close(self.core.settings.timeouts.close).await;
        }
    }
}
