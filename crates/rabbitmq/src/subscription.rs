//! A live subscription to a queue: what it has handed out, and how that is acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use treehook_event::{Compression, Delivery, Failure, Timestamp};

use crate::broker::Settings;
use crate::classify::classify;
use crate::consumer::Receipt;
use crate::link::Link;
use crate::topology::Which;

/// A message that came back this often may be what kills the workers that it is handed to. It is
/// handed out alone, so that it costs nobody but itself a delivery: what waits beside it in a dead
/// worker's prefetch would be given up with it.
const SUSPECT_AFTER: i64 = 3;

/// One connection, one channel, and the consumers on it: when one of them goes, all go.
pub(crate) struct Subscription {
    link: Link,
    channel: Channel,
    queue: String,
    prefetch: u16,
    /// Takes one message at a time. The broker hands out what came back before all else, so that a
    /// new subscription meets it with nothing else in hand.
    first: Consumer,
    /// Takes the rest of the prefetch, once the first message was above suspicion.
    rest: Option<Consumer>,
    is_trusting: bool,
    generation: u64,
    now: fn() -> Timestamp,
    limit: Duration,
    tags: Tags,
    /// Read, and not handed out yet: a `take` was dropped before its end.
    ready: Vec<Delivery<Receipt>>,
}

impl Subscription {
    /// Connects and subscribes.
    pub(crate) async fn open(
        settings: &Settings,
        which: Which,
        prefetch: u16,
        generation: u64,
    ) -> Result<Self, Failure> {
        let link = Link::connect(settings, "consume").await?;
        let queue = settings.topology.queue(which).to_owned();
        let limit = settings.timeouts.connect;
        let channel = timeout(limit, link.channel()).await.unwrap_or_else(|_| Err(late(limit)))?;
        let first = subscribe(&channel, &queue, 1, limit).await?;
        Ok(Self {
            link,
            channel,
            queue,
            prefetch,
            first,
            rest: None,
            is_trusting: false,
            generation,
            now: settings.now,
            limit,
            tags: Tags::default(),
            ready: Vec::new(),
        })
    }

    /// Asks for the rest of the prefetch, once that is safe.
    async fn widen(&mut self) -> Result<(), Failure> {
        if self.is_trusting && self.rest.is_none() && self.prefetch > 1 {
            let rest = subscribe(&self.channel, &self.queue, self.prefetch - 1, self.limit).await?;
            self.rest = Some(rest);
        }
        Ok(())
    }

    /// The next message of either consumer; `None` once one of them is cancelled.
    async fn next(&mut self) -> Option<lapin::Result<lapin::message::Delivery>> {
        match &mut self.rest {
            None => self.first.next().await,
            Some(rest) => tokio::select! {
                biased;
                delivered = self.first.next() => delivered,
                delivered = rest.next() => delivered,
            },
        }
    }

    /// Waits for the first delivery until `deadline`, then takes what has arrived already, up to
    /// about `limit` events. After a failure the subscription is of no use any more.
    pub(crate) async fn take(
        &mut self,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Delivery<Receipt>>, Failure> {
        if self.ready.is_empty() {
            self.widen().await?;
            let Ok(first) = timeout_at(deadline, self.next()).await else {
                return Ok(Vec::new());
            };
            self.link.mark_worked();
            self.hand_out(first)?;
        }
        let mut events: usize = self.ready.iter().map(|delivery| delivery.events.len()).sum();
        while events < limit
            && let Some(next) = self.next().now_or_never()
        {
            events += self.hand_out(next)?;
            // Batches are recorded in the same task, and reading thousands of events takes long. Nothing is lost if
            // this is dropped here.
            yield_now().await;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Reads a message; says how many events it holds.
    fn hand_out(
        &mut self,
        delivered: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<usize, Failure> {
        let mut delivery = delivered
            .ok_or_else(|| Failure::transient("broker_down", "the broker cancelled the consumer"))?
            .map_err(|error| classify(&error))?;
        let tag = delivery.delivery_tag;
        self.tags.hand_out(tag);
        self.is_trusting |= times_returned(&delivery.properties) < SUSPECT_AFTER;
        let encoding = delivery.properties.content_encoding().as_ref();
        let compression = Compression::named(encoding.map(ShortString::as_str));
        let body = std::mem::take(&mut delivery.data);
        let events = compression.decode_any(body, (self.now)());
        let receipt = Receipt { generation: self.generation, tag };
        let count = events.len();
        self.ready.push(Delivery { receipt, events, is_given_up: false });
        Ok(count)
    }

    /// Acknowledges; the caller bounds the wait. Receipts of an earlier subscription are left out:
    /// their deliveries come again, and their tags belong to other deliveries now.
    pub(crate) async fn acknowledge(&mut self, receipts: &[Receipt]) -> Result<(), Failure> {
        let settled: BTreeSet<u64> = receipts
            .iter()
            .filter(|receipt| receipt.generation == self.generation)
            .map(|receipt| receipt.tag)
            .collect();
        for (tag, multiple) in self.tags.acknowledgements(&settled) {
            self.channel
                .basic_ack(tag, BasicAckOptions { multiple })
                .await
                .map_err(|error| classify(&error))?;
        }
        Ok(())
    }

    /// Whether it was of use.
    pub(crate) fn was_good(&self) -> bool {
        self.link.was_good()
    }

    /// Gives everything that is not settled back to the broker.
    pub(crate) async fn close(self, limit: Duration) {
        self.link.say_goodbye(limit).await;
    }
}

/// A further consumer on the channel, with a prefetch of its own.
async fn subscribe(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
    limit: Duration,
) -> Result<Consumer, Failure> {
    let subscribing = async {
        // Not global: the limit is this consumer's own.
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        let options = BasicConsumeOptions::default();
        channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
    };
    match timeout(limit, subscribing).await {
        Ok(outcome) => outcome.map_err(|error| classify(&error)),
        Err(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> Failure {
    Failure::transient("broker_down", format!("not subscribed within {limit:?}"))
}

/// How often a message has been handed out and has come back, as quorum queues count it.
fn times_returned(properties: &BasicProperties) -> i64 {
    let headers = properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        // Not there the first time.
        _ => 0,
    }
}

/// What the channel has handed out. The broker counts tags up by one from 1, over both consumers; they
/// are handed out in another order, since each consumer has its own line.
#[derive(Debug, Default)]
struct Tags {
    /// Handed out and not settled. At most `prefetch` of them.
    outstanding: BTreeSet<u64>,
    /// Every tag up to here has been handed out.
    gapless: u64,
    /// Handed out beyond that.
    early: BTreeSet<u64>,
}

impl Tags {
    fn hand_out(&mut self, tag: u64) {
        self.outstanding.insert(tag);
        self.early.insert(tag);
        while self.early.remove(&(self.gapless + 1)) {
            self.gapless += 1;
        }
    }

    /// The fewest acknowledgements for these tags, as (tag, multiple). `multiple` covers every tag
    /// below too, so it is used only up to the first one that is still outstanding or has not been
    /// handed out yet: a message that is acknowledged unseen is lost.
    fn acknowledgements(&mut self, settled: &BTreeSet<u64>) -> Vec<(u64, bool)> {
        let may_go = |tag: &u64| *tag <= self.gapless && settled.contains(tag);
        let together: Vec<u64> = self.outstanding.iter().copied().take_while(may_go).collect();
        let mut acknowledgements = Vec::new();
        if let Some(&last) = together.last() {
            acknowledgements.push((last, together.len() > 1));
        }
        for tag in together {
            self.outstanding.remove(&tag);
        }
        // A tag that is not outstanding is left alone: acknowledging it would close the channel.
        for tag in settled {
            if self.outstanding.remove(tag) {
                acknowledgements.push((*tag, false));
            }
        }
        acknowledgements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_acknowledged_at_once_only_below_the_first_gap() {
        type Row = (&'static [u64], &'static [u64], &'static [(u64, bool)], &'static [u64]);
        let table: [Row; 8] = [
            (&[1, 2, 3], &[1, 2, 3], &[(3, true)], &[]),
            (&[1, 2, 3], &[1], &[(1, false)], &[2, 3]),
            (&[1, 2, 3], &[3], &[(3, false)], &[1, 2]),
            (&[1, 2, 3, 4], &[1, 2, 4], &[(2, true), (4, false)], &[3]),
            (&[3, 1, 2], &[1, 2, 3], &[(3, true)], &[]),
            // The first has come, and has not been handed out.
            (&[2, 3], &[2, 3], &[(2, false), (3, false)], &[]),
            (&[1, 2, 4, 5], &[1, 2, 4, 5], &[(2, true), (4, false), (5, false)], &[]),
            (&[], &[7], &[], &[]),
        ];
        for (handed_out, settled, expected, left) in table {
            let mut tags = Tags::default();
            for tag in handed_out {
                tags.hand_out(*tag);
            }
            let settled = settled.iter().copied().collect();
            assert_eq!(tags.acknowledgements(&settled), expected, "{handed_out:?}");
            assert!(tags.outstanding.iter().eq(left));
        }
    }
}
