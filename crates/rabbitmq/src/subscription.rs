//! A live subscription to a queue: what it has handed out, and how that is acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::{Instant, timeout, timeout_at};
use treehook_event::{Delivery, Event, Failure, Timestamp, decode_batch};

use crate::broker::Settings;
use crate::classify::classify;
use crate::consumer::Receipt;
use crate::link::Link;
use crate::topology::Which;

/// One connection, one channel, one consumer: when one of them goes, all go.
pub(crate) struct Subscription {
    link: Link,
    channel: Channel,
    stream: Consumer,
    generation: u64,
    now: fn() -> Timestamp,
    /// Handed out and not settled. At most `prefetch` of them.
    outstanding: BTreeSet<u64>,
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
        let queue = settings.topology.queue(which);
        let subscribing = async {
            let channel = link.channel().await?;
            subscribe(&channel, queue, prefetch)
                .await
                .map(|stream| (channel, stream))
                .map_err(|error| classify(&error))
        };
        let limit = settings.timeouts.connect;
        let (channel, stream) = timeout(limit, subscribing).await.unwrap_or_else(|_| {
            Err(Failure::transient("broker_down", format!("not subscribed within {limit:?}")))
        })?;
        let now = settings.now;
        Ok(Self { link, channel, stream, generation, now, outstanding: BTreeSet::new() })
    }

    /// Waits for the first delivery until `deadline`, then takes what has arrived already, up to
    /// about `limit` events. After a failure the subscription is of no use any more.
    pub(crate) async fn take(
        &mut self,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Delivery<Receipt>>, Failure> {
        let Ok(first) = timeout_at(deadline, self.stream.next()).await else {
            return Ok(Vec::new());
        };
        self.link.mark_worked();
        let first = self.hand_out(first)?;
        let mut events = first.events.len();
        let mut deliveries = vec![first];
        // Nothing is awaited from here on, so that no delivery is lost with a dropped future.
        while events < limit
            && let Some(next) = self.stream.next().now_or_never()
        {
            let next = self.hand_out(next)?;
            events += next.events.len();
            deliveries.push(next);
        }
        Ok(deliveries)
    }

    fn hand_out(
        &mut self,
        delivered: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<Delivery<Receipt>, Failure> {
        let delivery = delivered
            .ok_or_else(|| Failure::transient("broker_down", "the broker cancelled the consumer"))?
            .map_err(|error| classify(&error))?;
        let tag = delivery.delivery_tag;
        self.outstanding.insert(tag);
        let events = read(&delivery.data, self.now);
        Ok(Delivery { receipt: Receipt { generation: self.generation, tag }, events })
    }

    /// Acknowledges; the caller bounds the wait. Receipts of an earlier subscription are left out:
    /// their deliveries come again, and their tags belong to other deliveries now.
    pub(crate) async fn acknowledge(&mut self, receipts: &[Receipt]) -> Result<(), Failure> {
        let settled: BTreeSet<u64> = receipts
            .iter()
            .filter(|receipt| receipt.generation == self.generation)
            .map(|receipt| receipt.tag)
            .collect();
        for (tag, multiple) in acknowledgements(&mut self.outstanding, &settled) {
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

async fn subscribe(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    // Not global: the limit is this consumer's own.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

/// A message's events. What cannot be read, and an empty batch too, becomes one event that says so:
/// every delivery holds at least one.
fn read(body: &[u8], now: fn() -> Timestamp) -> Vec<Event> {
    match decode_batch(body) {
        Ok(events) if !events.is_empty() => events,
        Ok(_) => vec![Event::unreadable(body, "an empty batch", now())],
        Err(why) => vec![Event::unreadable(body, &why.0, now())],
    }
}

/// The fewest acknowledgements for these tags, as (tag, multiple). `multiple` covers every tag below
/// too, so it is used only up to the first one that is still outstanding.
fn acknowledgements(outstanding: &mut BTreeSet<u64>, settled: &BTreeSet<u64>) -> Vec<(u64, bool)> {
    let together: Vec<u64> =
        outstanding.iter().copied().take_while(|tag| settled.contains(tag)).collect();
    let mut acknowledgements = Vec::new();
    if let Some(&last) = together.last() {
        acknowledgements.push((last, together.len() > 1));
    }
    for tag in together {
        outstanding.remove(&tag);
    }
    // A tag that is not outstanding is left alone: acknowledging it would close the channel.
    for tag in settled {
        if outstanding.remove(tag) {
            acknowledgements.push((*tag, false));
        }
    }
    acknowledgements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_acknowledged_at_once_only_below_the_first_gap() {
        type Row = (&'static [u64], &'static [u64], &'static [(u64, bool)], &'static [u64]);
        let table: [Row; 6] = [
            (&[1, 2, 3], &[1, 2, 3], &[(3, true)], &[]),
            (&[1, 2, 3], &[1], &[(1, false)], &[2, 3]),
            (&[1, 2, 3], &[3], &[(3, false)], &[1, 2]),
            (&[1, 2, 3, 4], &[1, 2, 4], &[(2, true), (4, false)], &[3]),
            (&[4, 5], &[3, 4], &[(4, false)], &[5]),
            (&[], &[7], &[], &[]),
        ];
        for (outstanding, settled, expected, left) in table {
            let mut outstanding: BTreeSet<u64> = outstanding.iter().copied().collect();
            let settled = settled.iter().copied().collect();
            assert_eq!(acknowledgements(&mut outstanding, &settled), expected);
            assert!(outstanding.iter().eq(left));
        }
    }

    #[test]
    fn an_unreadable_or_empty_message_becomes_one_event_that_says_so() {
        for body in [&b"not json"[..], b"[]", b"{}", b"\xff\xfe"] {
            let events = read(body, || Timestamp::from_seconds(0));
            assert_eq!(events.len(), 1);
            assert_eq!(events[0].type_label(), "unfit");
        }
    }
}
