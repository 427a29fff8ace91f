//! The contract of `Publisher` and `Consumer`, as a pair.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use treehook_event::{
    Accepted, Consumer, Delivery, Event, Failure, Packet, Publisher, decode_batch,
};

use crate::fixtures::{NOON, change, click, unfit, unknown, view};

const DEADLINE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_millis(500);

/// Runs every case against one queue, which is empty at the start and after each case.
pub(super) async fn queue_contract<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: impl Fn() -> C,
) {
    with(consumer(), async |it| nothing_published_is_nothing_received(publisher, it).await).await;
    with(consumer(), async |it| every_kind_of_event_comes_out_as_it_went_in(publisher, it).await)
        .await;
    with(consumer(), async |it| so_do_many_that_are_alike(publisher, it).await).await;
    what_is_settled_does_not_come_again(publisher, &consumer).await;
    with(consumer(), async |it| what_is_not_settled_comes_again_after_release(publisher, it).await)
        .await;
    what_is_not_settled_comes_again_to_the_next_consumer(publisher, &consumer).await;
    with(consumer(), async |it| a_limit_bounds_what_is_received_at_once(publisher, it).await).await;
    with(consumer(), async |it| a_consumer_that_waits_is_woken(publisher, it).await).await;
    with(consumer(), async |it| many_publishers_lose_nothing(publisher, it).await).await;
}

/// Runs a case with a consumer that is released after it: one that is only dropped may take its last
/// acknowledgement with it, and the next case would meet what this one has settled.
async fn with<C: Consumer>(mut consumer: C, case: impl AsyncFnOnce(&mut C)) {
    case(&mut consumer).await;
    consumer.release().await;
}

/// What hands out packets, keeping the contract of events.
pub(super) struct Opened<C>(pub(super) C);

impl<C: Consumer<Packet>> Consumer for Opened<C> {
    type Receipt = C::Receipt;

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<C::Receipt>>, Failure> {
        let opened = |delivery: Delivery<C::Receipt, Packet>| {
            let events = |packet: &Packet| {
                let events = decode_batch(&packet.opened().unwrap()).unwrap();
                assert_eq!(events.len(), packet.events);
                for event in &events {
                    let routing_key = format!("{}.{}", event.source, event.event_type());
                    assert_eq!(*packet.routing_key, routing_key);
                }
                events
            };
            let events = delivery.events.iter().flat_map(events).collect();
            Delivery { receipt: delivery.receipt, events, is_given_up: delivery.is_given_up }
        };
        Ok(self.0.receive(limit, wait).await?.into_iter().map(opened).collect())
    }

    async fn settle(&mut self, receipts: Vec<C::Receipt>) -> Result<(), Failure> {
        self.0.settle(receipts).await
    }

    async fn release(&mut self) {
        self.0.release().await;
    }
}

/// Receives and settles until this many events have come.
async fn take<C: Consumer>(consumer: &mut C, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let started = Instant::now();
    while events.len() < count {
        assert!(started.elapsed() < DEADLINE, "{} of {count} events came", events.len());
        let (received, receipts) = split(consumer.receive(1000, WAIT).await.unwrap());
        consumer.settle(receipts).await.unwrap();
        events.extend(received);
    }
    events
}

/// Receives until this many events are in hand, settling none.
async fn hold<C: Consumer>(consumer: &mut C, count: usize) -> (Vec<Event>, Vec<C::Receipt>) {
    let (mut events, mut receipts) = (Vec::new(), Vec::new());
    let started = Instant::now();
    while events.len() < count {
        assert!(started.elapsed() < DEADLINE, "{} of {count} events came", events.len());
        let (more, with) = split(consumer.receive(1000, WAIT).await.unwrap());
        events.extend(more);
        receipts.extend(with);
    }
    (events, receipts)
}

fn split<R>(deliveries: Vec<Delivery<R>>) -> (Vec<Event>, Vec<R>) {
    let (mut events, mut receipts) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        assert!(!delivery.events.is_empty(), "a delivery holds at least one event");
        events.extend(delivery.events);
        receipts.push(delivery.receipt);
    }
    (events, receipts)
}

async fn is_empty<C: Consumer>(consumer: &mut C) {
    let left = consumer.receive(1000, WAIT).await.unwrap();
    assert!(left.is_empty(), "{} deliveries are left over", left.len());
}

fn clicks(prefix: &str, count: usize) -> Vec<Event> {
    (0..count).map(|n| click(&format!("{prefix}{n}"), "p", "l", n as u64, NOON)).collect()
}

fn identities(events: &[Event]) -> BTreeSet<String> {
    events.iter().map(|event| event.identity.to_string()).collect()
}

async fn nothing_published_is_nothing_received<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &mut C,
) {
    publisher.publish(&[]).await.unwrap();
    is_empty(consumer).await;
    consumer.settle(Vec::new()).await.unwrap();
}

async fn every_kind_of_event_comes_out_as_it_went_in<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &mut C,
) {
    use treehook_event::LinkChangeKind::Updated;
    let mut sent = vec![
        click("a", "p", "l", 7, NOON),
        view("b", "p", 7, NOON),
        change("c", Updated, "l", crate::fixtures::titled("Ünïcode \"quoted\""), NOON),
        unknown("d", NOON),
        unfit("e", NOON),
    ];
    assert_eq!(publisher.publish(&sent).await.unwrap(), Accepted::Queued);
    let mut received = take(consumer, sent.len()).await;
    sent.sort_by_key(|event| event.identity.to_string());
    received.sort_by_key(|event| event.identity.to_string());
    assert_eq!(received, sent);
}

/// Enough to be compressed by whoever compresses.
async fn so_do_many_that_are_alike<P: Publisher, C: Consumer>(publisher: &P, consumer: &mut C) {
    let sent = clicks("alike", 250);
    assert_eq!(publisher.publish(&sent).await.unwrap(), Accepted::Queued);
    let mut received = take(consumer, sent.len()).await;
    received.sort_by_key(|event| event.identity.as_str()["alike".len()..].parse::<u32>().unwrap());
    assert_eq!(received, sent);
}

async fn what_is_settled_does_not_come_again<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &impl Fn() -> C,
) {
    publisher.publish(&clicks("settled", 3)).await.unwrap();
    let mut first = consumer();
    take(&mut first, 3).await;
    first.release().await;
    is_empty(&mut first).await;
    drop(first);
    is_empty(&mut consumer()).await;
}

async fn what_is_not_settled_comes_again_after_release<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &mut C,
) {
    publisher.publish(&clicks("released", 2)).await.unwrap();
    let (_, receipts) = hold(consumer, 2).await;
    is_empty(consumer).await;
    consumer.release().await;
    drop(receipts);
    let again = take(consumer, 2).await;
    assert_eq!(identities(&again), identities(&clicks("released", 2)));
    is_empty(consumer).await;
}

async fn what_is_not_settled_comes_again_to_the_next_consumer<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &impl Fn() -> C,
) {
    publisher.publish(&clicks("dropped", 2)).await.unwrap();
    let mut first = consumer();
    let (_, receipts) = hold(&mut first, 2).await;
    first.release().await;
    drop((receipts, first));
    let mut next = consumer();
    let again = take(&mut next, 2).await;
    assert_eq!(again.len(), 2);
    next.release().await;
}

async fn a_limit_bounds_what_is_received_at_once<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &mut C,
) {
    for n in 0..5 {
        publisher.publish(&clicks(&format!("limit{n}-"), 10)).await.unwrap();
    }
    // A delivery is never split, so one may pass the limit by less than its own size.
    let (events, receipts) = split(consumer.receive(10, DEADLINE).await.unwrap());
    assert!((1..20).contains(&events.len()), "{} events at a limit of 10", events.len());
    consumer.settle(receipts).await.unwrap();
    take(consumer, 50 - events.len()).await;
    // A single delivery above the limit still comes, whole.
    publisher.publish(&clicks("big", 30)).await.unwrap();
    let (events, receipts) = split(consumer.receive(10, DEADLINE).await.unwrap());
    assert_eq!(events.len(), 30);
    consumer.settle(receipts).await.unwrap();
}

async fn a_consumer_that_waits_is_woken<P: Publisher, C: Consumer>(
    publisher: &P,
    consumer: &mut C,
) {
    let event = clicks("woken", 1);
    let (received, outcome) =
        tokio::join!(consumer.receive(10, DEADLINE), publisher.publish(&event));
    outcome.unwrap();
    let (events, receipts) = split(received.unwrap());
    assert_eq!(events.len(), 1);
    consumer.settle(receipts).await.unwrap();
}

async fn many_publishers_lose_nothing<P: Publisher, C: Consumer>(publisher: &P, consumer: &mut C) {
    const AT_ONCE: usize = 32;
    const EACH: usize = 20;
    let batches: Vec<Vec<Event>> =
        (0..AT_ONCE).map(|n| clicks(&format!("many{n}-"), EACH)).collect();
    let publishing: Vec<_> = batches.iter().map(|batch| publisher.publish(batch)).collect();
    let (outcomes, received) =
        tokio::join!(futures_util::future::join_all(publishing), take(consumer, AT_ONCE * EACH));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(identities(&received).len(), AT_ONCE * EACH);
    is_empty(consumer).await;
}
