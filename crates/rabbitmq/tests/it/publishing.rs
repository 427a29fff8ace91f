//! Publishing, while all is well with the connection.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicRejectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use treehook_event::{
    Accepted, Compression, Consumer as _, Event, Packet, Publisher as _, encode_batch,
};
use treehook_rabbitmq::{Broker, BrokerConfig, BrokerState, Which};

use crate::harness::{
    Harness, PATIENCE, click, clicks, eventually, ids, nothing_arrives, reason, receipts, receive,
    story, unknown, url,
};

#[tokio::test]
async fn what_is_published_is_received_and_once_settled_gone() {
    story(async |harness| {
        let running = harness.broker().await;
        let events = clicks("a", 3);
        let accepted = running.broker.publisher().publish(&events).await;
        assert_eq!(accepted, Ok(Accepted::Queued));

        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 3).await;
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].events, events);
        consumer.settle(receipts(deliveries)).await.unwrap();
        // Dropped instead, it might take its acknowledgement with it.
        consumer.release().await;
        nothing_arrives(&mut consumer).await;
        running.stop().await;
    })
    .await;
}

/// What stands in RabbitMQ then is read by people as well.
#[tokio::test]
async fn what_is_compressed_says_so_and_is_read_by_whoever_does_not_compress() {
    story(async |harness| {
        let reader = harness.broker().await;
        let stop = CancellationToken::new();
        let config = BrokerConfig { compression: Compression::Lz4, ..harness.config(url()) };
        let (writer, task) = Broker::start(config, stop.clone()).unwrap();
        let supervisor = tokio::spawn(task.run());
        let up = async || *writer.state().borrow() == BrokerState::Up;
        eventually("the writer is up", up).await;

        let (few, many) = (clicks("few", 1), clicks("many", 90));
        let (told, publisher) = (clicks("packed", 60), writer.publisher());
        publisher.publish(&few).await.unwrap();
        publisher.publish(&many).await.unwrap();
        // As a relay does: one that is compressed goes on as it is, and others are compressed.
        let packets = |compression| -> Vec<Packet> {
            let packets = Packet::pack(&told).into_iter();
            packets.map(|packet| packet.compressed(compression)).collect()
        };
        publisher.publish(&packets(Compression::Lz4)).await.unwrap();
        publisher.publish(&packets(Compression::None)).await.unwrap();
        // And one that does not compress unfolds what is.
        reader.broker.publisher().publish(&packets(Compression::Lz4)).await.unwrap();

        let queue: ShortString = harness.topology.aggregate_queue.as_str().into();
        let mut held = Vec::new();
        for expected in [None, Some("lz4"), Some("lz4"), Some("lz4"), None] {
            let message = harness.admin.basic_get(queue.clone(), BasicGetOptions::default());
            let message = message.await.unwrap().expect("a message");
            let encoding = message.properties.content_encoding().as_ref();
            assert_eq!(encoding.map(ShortString::as_str), expected);
            let content_type = message.properties.content_type().as_ref().unwrap();
            assert_eq!(content_type.as_str(), "application/cloudevents-batch+json");
            held.push(message);
        }
        for message in held {
            message.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        let mut consumer = reader.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 1 + 90 + 3 * 60).await;
        let mut batches: Vec<Vec<Event>> =
            deliveries.iter().map(|delivery| delivery.events.clone()).collect();
        batches.sort_by_key(|batch| batch[0].identity.to_string());
        assert_eq!(batches, [few, many, told.clone(), told.clone(), told]);
        consumer.settle(receipts(deliveries)).await.unwrap();
        drop(consumer);
        stop.cancel();
        supervisor.await.unwrap().unwrap();
        reader.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_mixed_batch_goes_out_as_one_message_for_each_routing_key() {
    story(async |harness| {
        let running = harness.broker().await;
        let events =
            [click("a"), unknown("b", "lead.created"), click("c"), unknown("d", "sale.created")];
        running.broker.publisher().publish(&events).await.unwrap();

        let queue = harness.topology.aggregate_queue.as_str().into();
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut messages = harness
            .admin
            .basic_consume(queue, "".into(), options, FieldTable::default())
            .await
            .unwrap();
        let mut trace = Vec::new();
        for (key, batch) in [
            ("link.clicked", vec![events[0].clone(), events[2].clone()]),
            ("lead.created", vec![events[1].clone()]),
            ("sale.created", vec![events[3].clone()]),
        ] {
            let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(message.routing_key.as_str(), format!("linktree.{key}"));
            assert_eq!(message.data, encode_batch(&batch));
            let properties = &message.properties;
            let content_type = properties.content_type().as_ref().unwrap();
            assert_eq!(content_type.as_str(), "application/cloudevents-batch+json");
            assert_eq!(properties.delivery_mode(), &Some(2));
            assert_eq!(properties.kind().as_ref().unwrap().as_str(), key);
            assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "treehook");
            assert!(properties.message_id().is_some() && properties.timestamp().is_some());
            let headers = properties.headers().as_ref().unwrap();
            trace.push(headers.inner()["traceparent"].clone());
        }
        assert!(trace.iter().all(|context| *context == trace[0]));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn many_publishes_at_once_are_all_confirmed() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        // More than there are turns.
        let outcomes = join_all((0..60).map(|number| {
            let publisher = publisher.clone();
            async move { publisher.publish(&[click(&format!("c{number:02}"))]).await }
        }))
        .await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");

        eventually("60 messages wait", async || {
            running.broker.queue_depth().await.unwrap().aggregate == 60
        })
        .await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 100);
        let deliveries = receive(&mut consumer, 60).await;
        let received = ids(&deliveries);
        assert_eq!(received.len(), 60);
        assert_eq!((received[0], received[59]), ("c00", "c59"));
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

async fn unbind(harness: &Harness) {
    harness
        .admin
        .queue_unbind(
            harness.topology.aggregate_queue.as_str().into(),
            harness.topology.events_exchange.as_str().into(),
            "#".into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_that_no_queue_takes_is_a_failure_and_the_binding_comes_back() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        unbind(harness).await;
        let mixed = [click("lost"), unknown("lost too", "lead.created")];
        assert_eq!(reason(publisher.publish(&mixed).await), "broker_unroutable");

        // The connection is built anew, and with it the topology.
        eventually("published", async || publisher.publish(&[click("kept")]).await.is_ok()).await;
        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 1).await;
        assert_eq!(ids(&deliveries), ["kept"]);
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_the_publisher_says_so() {
    story(async |harness| {
        let running = harness.broker().await;
        let mut full = FieldTable::default();
        full.insert("x-max-length".into(), AMQPValue::LongInt(1));
        full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = harness.admin.queue_declare("".into(), options, full).await.unwrap();
        harness
            .admin
            .queue_bind(
                queue.name().clone(),
                harness.topology.events_exchange.as_str().into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();

        let publisher = running.broker.publisher();
        let mut outcome = publisher.publish(&[click("fits")]).await;
        for number in 0..3 {
            outcome = publisher.publish(&[click(&format!("too much {number}"))]).await;
        }
        assert_eq!(reason(outcome), "broker_nack");
        assert_eq!(*running.broker.state().borrow(), BrokerState::Up);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_publish_that_is_given_up_midway_costs_nobody_else_anything() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        publisher.publish(&[click("first")]).await.unwrap();
        let mut states = running.broker.state();
        states.mark_unchanged();
        for number in 0..40 {
            // Polled once, so that it is on its way, then dropped.
            let event = [click(&format!("given up {number}"))];
            assert!(publisher.publish(&event).now_or_never().is_none());
            publisher.publish(&[click(&format!("kept {number}"))]).await.unwrap();
        }
        assert!(!states.has_changed().unwrap(), "the connection was lost");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn packets_are_passed_on_unopened_and_the_small_ones_together() {
    story(async |harness| {
        let running = harness.broker().await;
        let events = clicks("a", 150);
        let small: Vec<Packet> = events.chunks(10).flat_map(Packet::pack).collect();
        let accepted = running.broker.publisher().publish(&small).await;
        assert_eq!(accepted, Ok(Accepted::Queued));

        let mut consumer = running.broker.consumer(Which::Aggregate, 10);
        let deliveries = receive(&mut consumer, 150).await;
        let counts: Vec<usize> = deliveries.iter().map(|one| one.events.len()).collect();
        assert_eq!(counts, [100, 50]);
        let received: Vec<Event> =
            deliveries.iter().flat_map(|delivery| delivery.events.clone()).collect();
        assert_eq!(received, events);
        consumer.settle(receipts(deliveries)).await.unwrap();
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_empty_publish_asks_whether_the_broker_would_take_one() {
    story(async |harness| {
        let running = harness.broker().await;
        let publisher = running.broker.publisher();
        let nothing: [Event; 0] = [];
        assert_eq!(publisher.publish(&nothing).await, Ok(Accepted::Queued));
        running.stop().await;
        assert_eq!(reason(publisher.publish(&nothing).await), "broker_down");
        assert_eq!(reason(publisher.publish(&Packet::pack(&nothing)).await), "broker_down");
        let late = timeout(Duration::from_secs(1), publisher.publish(&[click("a")])).await;
        assert_eq!(reason(late.unwrap()), "broker_down");
    })
    .await;
}
