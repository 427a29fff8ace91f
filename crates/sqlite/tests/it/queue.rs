//! The queue's own promises: durable, in order, bounded, shared between processes.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use treehook_event::{
    Accepted, Body, Compression, Consumer, Delivery, Event, EventType, Failure, Packet, Publisher,
    encode_batch,
};
use treehook_sqlite::{Depth, Queue, QueueConsumer, QueueLimits, Receipt};

use crate::sample::{click, noon, tamper};

const NO_WAIT: Duration = Duration::ZERO;
/// Longer than any machine needs: reached only when something is lost.
const DEADLINE: Duration = Duration::from_secs(20);

async fn open(directory: &Path) -> Queue {
    Queue::open(directory, QueueLimits::default()).await.unwrap()
}

fn clicks(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|number| click(number, noon())).collect()
}

fn split(deliveries: Vec<Delivery<Receipt>>) -> (Vec<Event>, Vec<Receipt>) {
    let mut events = Vec::new();
    let mut receipts = Vec::new();
    for delivery in deliveries {
        events.extend(delivery.events);
        receipts.push(delivery.receipt);
    }
    (events, receipts)
}

async fn take(consumer: &mut QueueConsumer, wait: Duration) -> (Vec<Event>, Vec<Receipt>) {
    split(consumer.receive(100, wait).await.unwrap())
}

#[tokio::test]
async fn what_was_published_is_there_after_a_restart_and_settled_only_once() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    assert_eq!(queue.publish(&clicks(0..3)).await, Ok(Accepted::Queued));
    queue.publish(&clicks(3..4)).await.unwrap();
    queue.close().await;

    let queue = open(folder.path()).await;
    let (events, receipts) = take(&mut queue.consumer(), NO_WAIT).await;
    assert_eq!(events, clicks(0..4));
    queue.consumer().settle(receipts).await.unwrap();
    drop(queue);

    let queue = open(folder.path()).await;
    assert_eq!(queue.depth().await, Ok(Depth::default()));
    assert!(take(&mut queue.consumer(), NO_WAIT).await.0.is_empty());
}

#[tokio::test]
async fn what_is_received_does_not_come_again_until_it_is_released() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    let mut consumer = queue.consumer();
    queue.publish(&clicks(0..2)).await.unwrap();
    queue.publish(&clicks(2..3)).await.unwrap();

    let (first, mut receipts) = take(&mut consumer, NO_WAIT).await;
    assert_eq!(first.len(), 3);
    assert!(take(&mut consumer, NO_WAIT).await.0.is_empty());

    consumer.settle(vec![receipts.remove(0)]).await.unwrap();
    consumer.release().await;
    assert_eq!(take(&mut consumer, NO_WAIT).await.0, clicks(2..3));
}

#[tokio::test]
async fn an_emptied_queue_does_not_reuse_ids_that_a_consumer_has_passed() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    let mut consumer = queue.consumer();
    queue.publish(&clicks(0..1)).await.unwrap();
    let (_, receipts) = take(&mut consumer, NO_WAIT).await;
    consumer.settle(receipts).await.unwrap();

    queue.publish(&clicks(1..2)).await.unwrap();
    assert_eq!(take(&mut consumer, NO_WAIT).await.0, clicks(1..2));
}

#[tokio::test]
async fn a_batch_larger_than_the_limit_is_taken_whole_and_alone() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    queue.publish(&clicks(0..5)).await.unwrap();
    queue.publish(&clicks(5..6)).await.unwrap();
    let mut consumer = queue.consumer();
    for expected in [clicks(0..5), clicks(5..6)] {
        let deliveries = consumer.receive(2, NO_WAIT).await.unwrap();
        assert_eq!(split(deliveries).0, expected);
    }
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_by_a_publish() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    let mut consumer = queue.consumer();
    let batch = clicks(0..1);
    let (received, published) = tokio::join!(take(&mut consumer, DEADLINE), queue.publish(&batch));
    published.unwrap();
    assert_eq!(received.0, batch);
}

#[tokio::test]
async fn rows_of_another_process_are_seen_and_its_settling_counts() {
    let folder = TempDir::new().unwrap();
    let ours = open(folder.path()).await;
    let theirs = open(folder.path()).await;
    let mut consumer = ours.consumer();
    let batch = clicks(0..2);
    let (received, published) = tokio::join!(take(&mut consumer, DEADLINE), theirs.publish(&batch));
    published.unwrap();
    assert_eq!(received.0, batch);
    assert_eq!(theirs.depth().await.unwrap().events, 2);

    consumer.settle(received.1).await.unwrap();
    assert_eq!(theirs.depth().await, Ok(Depth::default()));
}

#[tokio::test]
async fn a_row_that_cannot_be_decoded_arrives_as_one_unfit_event() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    queue.publish(&clicks(0..1)).await.unwrap();
    tamper(
        &folder.path().join("queue.db"),
        "insert into batches (events, bytes, payload) values (3, 7, x'7b226e6f7065'), (1, 2, x'5b5d')",
    )
    .await;

    let (events, receipts) = take(&mut queue.consumer(), NO_WAIT).await;
    assert_eq!((events.len(), receipts.len()), (3, 3));
    for event in &events[1..] {
        let Body::Unfit { reason, .. } = &event.body else { panic!("{event:?}") };
        assert!(reason.starts_with("undecodable:"), "{reason}");
        assert!(event.occurred_at > noon().plus_millis(-86_400_000 * 365 * 5));
    }
    queue.consumer().settle(receipts).await.unwrap();
    assert_eq!(queue.depth().await, Ok(Depth::default()));
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers_when_another_process_has_made_room() {
    let folder = TempDir::new().unwrap();
    let max_bytes = encode_batch(&clicks(0..3)).len() as u64;
    let queue = Queue::open(folder.path(), QueueLimits { max_bytes }).await.unwrap();
    queue.publish(&clicks(0..2)).await.unwrap();

    let refused = queue.publish(&clicks(2..4)).await.unwrap_err();
    assert!(matches!(&refused, Failure::Transient(cause) if cause.reason == "outbox_full"));
    assert_eq!(queue.depth().await.unwrap().events, 2);

    let theirs = open(folder.path()).await;
    let (_, receipts) = take(&mut theirs.consumer(), NO_WAIT).await;
    theirs.consumer().settle(receipts).await.unwrap();
    assert_eq!(queue.publish(&clicks(2..4)).await, Ok(Accepted::Queued));
}

#[tokio::test]
async fn a_publish_that_fails_leaves_nothing_and_the_next_one_works() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    let file = folder.path().join("queue.db");
    // `rollback` ends the transaction under the driver, as SQLite does when the disk is full.
    tamper(
        &file,
        "create trigger no_room after insert on batches begin \
         select raise(rollback, 'no room'); end",
    )
    .await;
    assert!(queue.publish(&clicks(0..1)).await.is_err());
    assert_eq!(queue.depth().await, Ok(Depth::default()));
    tamper(&file, "drop trigger no_room").await;
    assert_eq!(queue.publish(&clicks(0..1)).await, Ok(Accepted::Queued));
    assert_eq!(take(&mut queue.consumer(), NO_WAIT).await.0, clicks(0..1));
}

#[tokio::test]
async fn depth_tells_events_bytes_and_age() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    queue.publish(&clicks(0..3)).await.unwrap();
    queue.publish(&[]).await.unwrap();
    let depth = queue.depth().await.unwrap();
    assert_eq!(depth.events, 3);
    assert_eq!(depth.bytes, encode_batch(&clicks(0..3)).len() as u64);
    assert!(depth.oldest.is_some());
}

#[tokio::test]
async fn a_relay_gets_packets_of_one_type_also_of_rows_that_are_mixed() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    let (mut first, mut second) = (clicks(0..3), clicks(3..6));
    for events in [&mut first, &mut second] {
        let event_type = EventType::given("x.y");
        events[1].body = Body::Unknown { event_type };
    }
    let mixed = first.iter().chain(&second).cloned().collect::<Vec<_>>();
    queue.publish(&first).await.unwrap();
    let kept: Vec<_> = queue.relay().receive(100, NO_WAIT).await.unwrap();
    let kept: Vec<Packet> = kept.into_iter().flat_map(|delivery| delivery.events).collect();
    assert_eq!(kept, Packet::pack(&first));

    // As a row looked before rows knew their routing key.
    let row = String::from_utf8(encode_batch(&second)).unwrap().replace('\'', "\'\'");
    let insert = format!(
        "insert into batches (events, bytes, payload) values (3, {}, cast('{row}' as blob))",
        row.len()
    );
    tamper(&folder.path().join("queue.db"), &insert).await;
    let mut relay = queue.relay();
    let (mut packets, mut receipts) = (Vec::new(), Vec::new());
    for delivery in relay.receive(100, NO_WAIT).await.unwrap() {
        packets.extend(delivery.events);
        receipts.push(delivery.receipt);
    }
    assert_eq!(Packet::join(&packets, Compression::None), Packet::pack(&mixed));
    relay.settle(receipts).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().events, 0);
}

#[tokio::test]
async fn what_cannot_be_opened_is_fatal_and_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let missing = Queue::open_existing(folder.path(), QueueLimits::default()).await.unwrap_err();
    let occupied = folder.path().join("a-file");
    std::fs::write(&occupied, "x").unwrap();
    let not_a_folder = Queue::open(&occupied, QueueLimits::default()).await.unwrap_err();
    std::fs::write(folder.path().join("queue.db"), [7; 4096]).unwrap();
    let not_a_database = Queue::open(folder.path(), QueueLimits::default()).await.unwrap_err();
    for (failure, name, remedy) in [
        (missing, "queue.db", "TREEHOOK_DATA_DIR"),
        (not_a_folder, "a-file", "TREEHOOK_DATA_DIR"),
        (not_a_database, "queue.db", "move the file aside"),
    ] {
        assert!(matches!(failure, Failure::Fatal(_)), "{failure:?}");
        let detail = &failure.cause().detail;
        assert!(detail.contains(name) && detail.contains(remedy), "{detail}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("data");
    open(&directory).await;
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn many_processes_may_create_the_same_queue_at_once() {
    let folder = TempDir::new().unwrap();
    let opening = (0..8).map(|_| {
        let directory = folder.path().to_owned();
        tokio::spawn(async move { Queue::open(&directory, QueueLimits::default()).await })
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
}
