//! Messages that came back again and again: each is handed out alone.

use std::collections::BTreeSet;
use std::time::Duration;

use treehook_event::{Consumer as _, Publisher as _};
use treehook_rabbitmq::Which;

use crate::harness::{clicks, ids, nothing_arrives, receipts, receive, story};

/// Longest wait for what is in the queue already.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn what_came_back_three_times_is_handed_out_alone_until_something_sound_comes() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        let publish = async |prefix, count| {
            for event in clicks(prefix, count) {
                publisher.publish(&[event]).await.unwrap();
            }
        };
        publish("a", 4).await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        // As many workers die with all of it in hand.
        for _ in 0..3 {
            assert_eq!(receive(&mut consumer, 4).await.len(), 4);
            consumer.release().await;
        }
        // The worker that dies now costs the first one alone a delivery.
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            let alone = receive(&mut consumer, 1).await;
            nothing_arrives(&mut consumer).await;
            seen.extend(ids(&alone).iter().map(ToString::to_string));
            consumer.settle(receipts(alone)).await.unwrap();
        }
        assert!(seen.iter().eq(["a0", "a1", "a2", "a3"]), "{seen:?}");
        publish("b", 5).await;
        let sound = receive(&mut consumer, 5).await;
        assert_eq!(ids(&sound), ["b0", "b1", "b2", "b3", "b4"]);
        consumer.settle(receipts(sound)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_handed_out() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        let mut consumer = running.broker.consumer(Which::Aggregate, 8);
        for event in clicks("e", 400) {
            publisher.publish(&[event]).await.unwrap();
        }
        let mut seen = BTreeSet::new();
        // A few at a time, so that others wait in either consumer's line meanwhile.
        while seen.len() < 400 {
            let deliveries = consumer.receive(3, PATIENCE).await.unwrap();
            assert!(!deliveries.is_empty(), "the rest is lost after {}", seen.len());
            seen.extend(ids(&deliveries).iter().map(ToString::to_string));
            consumer.settle(receipts(deliveries)).await.unwrap();
            // By the time this is answered both lines are full again.
            running.broker.queue_depth().await.unwrap();
        }
        running.stop().await;
    })
    .await;
}
