//! Consuming, settling, handing back.

use std::time::Duration;

use futures_util::FutureExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use treehook_event::{Body, Consumer as _, Publisher as _};
use treehook_rabbitmq::Which;

use crate::harness::{click, clicks, eventually, ids, nothing_arrives, receipts, receive, story};

/// Publishes this many messages of one event each.
async fn publish_singly(broker: &treehook_rabbitmq::Broker, count: usize) {
    let publisher = broker.publisher();
    for event in clicks("e", count) {
        publisher.publish(&[event]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_settled_comes_back_after_a_release_and_after_a_drop() {
    story(async |harness| {
        let running = harness.broker().await;
        publish_singly(&running.broker, 3).await;

        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let mut first = receive(&mut consumer, 3).await;
        assert_eq!(ids(&first), ["e0", "e1", "e2"]);
        let middle = first.remove(1);
        consumer.settle(vec![middle.receipt]).await.unwrap();
        consumer.release().await;
        let second = receive(&mut consumer, 2).await;
        assert_eq!(ids(&second), ["e0", "e2"]);

        // Receipts from before the release say nothing about the deliveries of now.
        consumer.settle(receipts(first)).await.unwrap();
        drop(consumer);
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let third = receive(&mut consumer, 2).await;
        assert_eq!(ids(&third), ["e0", "e2"]);
        consumer.settle(receipts(third)).await.unwrap();
        consumer.release().await;
        nothing_arrives(&mut consumer).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_receive_that_is_dropped_wherever_it_waits_loses_nothing() {
    story(async |harness| {
        let running = harness.broker().await;
        publish_singly(&running.broker, 2).await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        // From the second on it takes many at once.
        let first = receive(&mut consumer, 2).await;
        publish_singly(&running.broker, 7).await;
        let mut rest = Vec::new();
        eventually("all are handed out", async || {
            if let Some(some) = consumer.receive(10, Duration::ZERO).now_or_never() {
                rest.extend(some.unwrap());
            }
            rest.len() == 7
        })
        .await;
        assert_eq!(ids(&rest), ["e0", "e1", "e2", "e3", "e4", "e5", "e6"]);
        consumer.settle(receipts(first)).await.unwrap();
        consumer.settle(receipts(rest)).await.unwrap();
        consumer.release().await;
        nothing_arrives(&mut consumer).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_in_hand_and_the_rest_is_anothers() {
    story(async |harness| {
        let running = harness.broker().await;
        publish_singly(&running.broker, 5).await;

        let mut first = running.broker.consumer(Which::Aggregate, 2);
        let held = receive(&mut first, 2).await;
        // A limit above the prefetch does not wait for what cannot come.
        nothing_arrives(&mut first).await;
        let mut second = running.broker.consumer(Which::Aggregate, 2);
        let others = receive(&mut second, 2).await;
        assert_eq!(held.len() + others.len(), 4);

        // Settling makes room.
        first.settle(receipts(held)).await.unwrap();
        let last = receive(&mut first, 1).await;
        assert_eq!(ids(&last), ["e4"]);
        first.settle(receipts(last)).await.unwrap();
        second.settle(receipts(others)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_limit_counts_events_and_never_splits_a_delivery() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        for prefix in ["a", "b", "c"] {
            publisher.publish(&clicks(prefix, 10)).await.unwrap();
        }
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 30 {
            let deliveries = consumer.receive(5, Duration::from_secs(5)).await.unwrap();
            assert_eq!(deliveries.len(), 1);
            sizes.push(deliveries[0].events.len());
            consumer.settle(receipts(deliveries)).await.unwrap();
        }
        assert_eq!(sizes, [10, 10, 10]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_batch_arrives_as_one_event_that_says_so() {
    story(async |harness| {
        let running = harness.broker().await;
        harness
            .admin
            .basic_publish(
                harness.topology.events_exchange.as_str().into(),
                "linktree.link.clicked".into(),
                BasicPublishOptions::default(),
                b"{\"hello\": ",
                BasicProperties::default(),
            )
            .await
            .unwrap();
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 1).await;
        let Body::Unfit { reason, .. } = &deliveries[0].events[0].body else {
            panic!("it was readable");
        };
        assert!(reason.starts_with("undecodable:"), "{reason}");
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_the_broker_cancels_subscribes_again() {
    story(async |harness| {
        let running = harness.broker().await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        nothing_arrives(&mut consumer).await;
        let queue = harness.topology.aggregate_queue.as_str();
        let options = QueueDeleteOptions::default();
        harness.admin.queue_delete(queue.into(), options).await.unwrap();

        let waited = consumer.receive(10, Duration::from_secs(5)).await;
        assert_eq!(crate::harness::reason(waited), "broker_down");
        // The next receive makes the queue again.
        nothing_arrives(&mut consumer).await;
        running.broker.publisher().publish(&[click("again")]).await.unwrap();
        let deliveries = receive(&mut consumer, 1).await;
        assert_eq!(ids(&deliveries), ["again"]);
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_can_handle_ends_in_the_dead_queue() {
    story(async |harness| {
        let running = harness.broker().await;
        publish_singly(&running.broker, 1).await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 1);
        // Each release uses up an attempt; the delivery limit is twenty.
        for _ in 0..21 {
            receive(&mut consumer, 1).await;
            consumer.release().await;
        }
        eventually("one message is dead", async || {
            running.broker.queue_depth().await.is_ok_and(|depths| depths.dead == 1)
        })
        .await;
        let mut undertaker = running.broker.consumer(Which::Dead, 10);
        let dead = receive(&mut undertaker, 1).await;
        assert_eq!(ids(&dead), ["e0"]);
        undertaker.settle(receipts(dead)).await.unwrap();
        running.stop().await;
    })
    .await;
}
