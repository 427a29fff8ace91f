//! Outages: the connection cut, stalled, blocked, refused.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use treehook_event::{Consumer as _, Failure, Publisher as _};
use treehook_rabbitmq::{BrokerState, Which};

use crate::forwarder::Forwarder;
use crate::harness::{click, eventually, ids, reason, receipts, receive, story, url};

/// How soon a recovered broker is used.
const SOON: Duration = Duration::from_secs(5);
/// How soon a publish fails that cannot succeed.
const AT_ONCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_cut_connection_fails_fast_and_is_used_again_soon_after() {
    story(async |harness| {
        let mut forwarder = Forwarder::new().await;
        let running = harness.broker_at(forwarder.url());
        running.becomes(BrokerState::Up).await;
        let publisher = running.broker.publisher();
        publisher.publish(&[click("before")]).await.unwrap();

        for round in ["first", "second"] {
            forwarder.cut().await;
            running.becomes(BrokerState::Down).await;
            for _ in 0..20 {
                let failed = timeout(AT_ONCE, publisher.publish(&[click("never")])).await;
                assert_eq!(reason(failed.expect("it fails at once")), "broker_down");
            }
            forwarder.restore().await;
            let restored = Instant::now();
            let id = format!("after the {round}");
            eventually("published", async || publisher.publish(&[click(&id)]).await.is_ok()).await;
            assert!(restored.elapsed() < SOON, "{:?}", restored.elapsed());
        }

        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 3).await;
        assert_eq!(ids(&deliveries), ["after the first", "after the second", "before"]);
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_consumer_comes_back_after_a_cut_and_gets_what_it_had_not_settled() {
    story(async |harness| {
        let mut forwarder = Forwarder::new().await;
        let direct = harness.broker().await;
        let through = harness.broker_at(forwarder.url());
        let mut consumer = through.broker.consumer(Which::Aggregate, 10);
        direct.broker.publisher().publish(&[click("held")]).await.unwrap();
        let held = receive(&mut consumer, 1).await;

        forwarder.cut().await;
        let cut = consumer.receive(10, Duration::from_millis(300)).await;
        assert_eq!(reason(cut), "broker_down");
        let still = consumer.receive(10, Duration::from_millis(300)).await;
        assert_eq!(reason(still), "broker_down");
        forwarder.restore().await;

        let again = receive(&mut consumer, 1).await;
        assert_eq!(ids(&again), ["held"]);
        // The old receipt has the same tag as the new one, and must not settle it.
        consumer.settle(receipts(held)).await.unwrap();
        consumer.release().await;
        let again = receive(&mut consumer, 1).await;
        consumer.settle(receipts(again)).await.unwrap();
        direct.stop().await;
        through.stop().await;
    })
    .await;
}

/// Threads of the client library in this process: one for each connection.
fn connection_threads() -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "lapin-io-loop")
        .count()
}

#[tokio::test]
async fn a_stalled_connection_costs_one_publish_its_wait_and_the_next_ones_nothing() {
    story(async |harness| {
        let mut forwarder = Forwarder::new().await;
        let mut config = harness.config(forwarder.url());
        config.timeouts.connect = Duration::from_millis(500);
        config.timeouts.confirm = Duration::from_millis(500);
        let stop = tokio_util::sync::CancellationToken::new();
        let (broker, task) = treehook_rabbitmq::Broker::start(config, stop.clone()).unwrap();
        let task = tokio::spawn(task.run());
        let publisher = broker.publisher();
        eventually("up", async || publisher.publish(&[click("a")]).await.is_ok()).await;

        forwarder.stall();
        let waited = Instant::now();
        assert_eq!(reason(publisher.publish(&[click("b")]).await), "confirm_timeout");
        assert!(waited.elapsed() < Duration::from_secs(2));
        for _ in 0..10 {
            let next = timeout(AT_ONCE, publisher.publish(&[click("c")])).await;
            assert_eq!(reason(next.expect("it fails at once")), "broker_down");
        }

        forwarder.restore().await;
        let restored = Instant::now();
        eventually("published", async || publisher.publish(&[click("d")]).await.is_ok()).await;
        assert!(restored.elapsed() < SOON);
        stop.cancel();
        task.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn attempts_at_a_silent_peer_leave_no_thread_behind() {
    story(async |harness| {
        // Other stories in this process come and go, so only a clear growth counts.
        const ATTEMPTS: usize = 40;
        let running = harness.broker().await;
        let forwarder = Forwarder::new().await;
        let before = connection_threads();
        for _ in 0..ATTEMPTS {
            let mut config = harness.config(forwarder.url());
            config.timeouts.connect = Duration::from_millis(20);
            forwarder.stall();
            let stop = tokio_util::sync::CancellationToken::new();
            let (broker, _task) = treehook_rabbitmq::Broker::start(config, stop).unwrap();
            let mut consumer = broker.consumer(Which::Aggregate, 1);
            let received = consumer.receive(1, Duration::ZERO).await;
            assert_eq!(reason(received), "broker_down");
        }
        eventually("the threads are gone", async || connection_threads() < before + ATTEMPTS / 2)
            .await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn connections_to_a_peer_that_fell_silent_leave_no_thread_behind() {
    story(async |harness| {
        const CONNECTIONS: usize = 30;
        let mut forwarder = Forwarder::new().await;
        let running = harness.broker_at(forwarder.url());
        running.becomes(BrokerState::Up).await;
        let before = connection_threads();
        let mut consumers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut consumer = running.broker.consumer(Which::Aggregate, 1);
            consumer.receive(1, Duration::ZERO).await.unwrap();
            consumers.push(consumer);
        }
        forwarder.stall();
        drop(consumers);
        eventually("the threads are gone", async || {
            connection_threads() < before + CONNECTIONS / 2
        })
        .await;
        forwarder.restore().await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_short_of_memory_is_a_state_of_its_own() {
    story(async |harness| {
        let forwarder = Forwarder::new().await;
        let running = harness.broker_at(forwarder.url());
        running.becomes(BrokerState::Up).await;
        let publisher = running.broker.publisher();
        publisher.publish(&[click("before")]).await.unwrap();

        forwarder.say_blocked();
        running.becomes(BrokerState::Blocked).await;
        let refused = timeout(AT_ONCE, publisher.publish(&[click("meanwhile")])).await;
        assert_eq!(reason(refused.expect("it fails at once")), "broker_blocked");
        let depth = timeout(AT_ONCE, running.broker.queue_depth()).await;
        assert_eq!(reason(depth.expect("it fails at once")), "broker_blocked");

        forwarder.say_unblocked();
        running.becomes(BrokerState::Up).await;
        publisher.publish(&[click("after")]).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn refused_credentials_are_told_with_the_remedy_and_without_the_password() {
    story(async |harness| {
        let direct = harness.broker().await;
        let (scheme, rest) =
            url().split_once("://").map(|(s, r)| (s.to_owned(), r.to_owned())).unwrap();
        let host = rest.rsplit_once('@').unwrap().1.to_owned();
        let running = harness.broker_at(format!("{scheme}://nobody:s3cret@{host}"));
        eventually("refused", async || {
            running.broker.trouble().is_some_and(|cause| cause.reason == "broker_refused")
        })
        .await;
        let told = running.broker.trouble().unwrap().detail;
        assert!(told.contains("check the user and the password"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
        assert_eq!(*running.broker.state().borrow(), BrokerState::Down);
        // The very first connection: nobody was ever let in, so waiting mends nothing.
        let ended = running.task.await.unwrap().unwrap_err();
        assert!(matches!(&ended, Failure::Fatal(cause) if cause.reason == "broker_refused"));
        direct.stop().await;
    })
    .await;
}
