//! The topology and the ways in which a broker can disagree with it.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use treehook_event::{Consumer as _, Failure};
use treehook_rabbitmq::{BrokerState, Depths, Which};

use crate::harness::{story, url};

#[tokio::test]
async fn a_queue_with_other_arguments_is_fatal_and_named() {
    story(async |harness| {
        let queue = harness.topology.aggregate_queue.as_str();
        let mut other = FieldTable::default();
        other.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        other.insert("x-delivery-limit".into(), AMQPValue::LongInt(5));
        let options = QueueDeclareOptions::durable();
        harness.admin.queue_declare(queue.into(), options, other).await.unwrap();

        let running = harness.broker_at(url());
        let broker = running.broker.clone();
        let failure = running.task.await.unwrap().unwrap_err();
        assert!(matches!(failure, Failure::Fatal(_)));
        assert_eq!(failure.cause().reason, "topology_mismatch");
        for part in [queue, "inequivalent arg 'x-", "delete_queue"] {
            assert!(failure.to_string().contains(part), "{part} in {failure}");
        }
        assert_eq!(*broker.state().borrow(), BrokerState::Down);

        let mut consumer = broker.consumer(Which::Aggregate, 1);
        let received = consumer.receive(1, std::time::Duration::from_secs(5)).await;
        assert!(matches!(received, Err(Failure::Fatal(_))), "{received:?}");
    })
    .await;
}

#[tokio::test]
async fn declaring_twice_changes_nothing() {
    story(async |harness| {
        let first = harness.broker().await;
        let second = harness.broker().await;
        let empty = Depths { aggregate: 0, dead: 0 };
        assert_eq!(first.broker.queue_depth().await, Ok(empty));
        first.stop().await;
        second.stop().await;
    })
    .await;
}
