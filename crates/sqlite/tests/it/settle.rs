//! Settling when rows cannot be deleted: nothing is handed out a second time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use treehook_event::{Consumer, Failure, Publisher};
use treehook_sqlite::{Depth, Queue, QueueConsumer, QueueLimits};

use crate::sample::{click, noon, tamper};

const NO_WAIT: Duration = Duration::ZERO;

struct Fixture {
    folder: TempDir,
    queue: Queue,
    consumer: QueueConsumer,
}

impl Fixture {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        let consumer = queue.consumer();
        Self { folder, queue, consumer }
    }

    fn file(&self) -> PathBuf {
        Path::new(self.folder.path()).join("queue.db")
    }

    async fn publish(&self, number: u64) {
        self.queue.publish(&[click(number, noon())]).await.unwrap();
    }

    /// `rollback` ends the transaction under the driver, as SQLite does when the disk is full.
    async fn nothing_can_be_deleted(&self) {
        tamper(
            &self.file(),
            "create trigger no_room before delete on batches begin \
             select raise(rollback, 'no room'); end",
        )
        .await;
    }

    async fn there_is_room_again(&self) {
        tamper(&self.file(), "drop trigger no_room").await;
    }

    /// Takes and settles what is there; says which identities.
    async fn turn(&mut self) -> Result<Vec<String>, Failure> {
        let deliveries = self.consumer.receive(100, NO_WAIT).await?;
        let events = deliveries.iter().flat_map(|delivery| &delivery.events);
        let identities = events.map(|event| event.identity.to_string()).collect();
        self.consumer
            .settle(deliveries.into_iter().map(|delivery| delivery.receipt).collect())
            .await?;
        Ok(identities)
    }
}

#[tokio::test]
async fn what_is_settled_on_a_full_disk_is_not_handed_out_again() {
    let mut fixture = Fixture::new().await;
    fixture.publish(1).await;
    fixture.publish(2).await;
    fixture.nothing_can_be_deleted().await;
    assert_eq!(fixture.turn().await.unwrap(), ["click-1", "click-2"]);
    assert_eq!(fixture.queue.depth().await.unwrap().events, 2);

    // With nothing else to do it is said why the queue stays as deep.
    fixture.consumer.release().await;
    assert!(fixture.turn().await.is_err());
    fixture.publish(3).await;
    fixture.consumer.release().await;
    assert_eq!(fixture.turn().await.unwrap(), ["click-3"]);

    fixture.there_is_room_again().await;
    assert_eq!(fixture.turn().await.unwrap(), Vec::<String>::new());
    assert_eq!(fixture.queue.depth().await, Ok(Depth::default()));
    fixture.publish(4).await;
    assert_eq!(fixture.turn().await.unwrap(), ["click-4"]);
    assert_eq!(fixture.queue.depth().await, Ok(Depth::default()));
}

#[tokio::test]
async fn a_later_settle_deletes_what_an_earlier_one_could_not() {
    let mut fixture = Fixture::new().await;
    fixture.publish(1).await;
    fixture.publish(2).await;
    let deliveries = fixture.consumer.receive(100, NO_WAIT).await.unwrap();
    let mut receipts: Vec<_> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
    let second = receipts.split_off(1);
    fixture.nothing_can_be_deleted().await;
    assert_eq!(fixture.consumer.settle(receipts).await, Ok(()));
    fixture.there_is_room_again().await;
    assert_eq!(fixture.consumer.settle(second).await, Ok(()));
    assert_eq!(fixture.queue.depth().await, Ok(Depth::default()));
}

#[tokio::test]
async fn what_was_not_settled_still_comes_again_beside_what_was() {
    let mut fixture = Fixture::new().await;
    for number in 1..=3 {
        fixture.publish(number).await;
    }
    let deliveries = fixture.consumer.receive(100, NO_WAIT).await.unwrap();
    let middle = deliveries.into_iter().nth(1).unwrap().receipt;
    fixture.nothing_can_be_deleted().await;
    fixture.consumer.settle(vec![middle]).await.unwrap();
    fixture.consumer.release().await;
    assert_eq!(fixture.turn().await.unwrap(), ["click-1", "click-3"]);
}

#[tokio::test]
async fn when_too_much_waits_to_be_deleted_nothing_more_is_taken() {
    let mut fixture = Fixture::new().await;
    let rows = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000) \
         insert into batches (events, bytes, payload) select 1, 1, x'78' from n";
    tamper(&fixture.file(), rows).await;
    fixture.nothing_can_be_deleted().await;
    let deliveries = fixture.consumer.receive(20_000, NO_WAIT).await.unwrap();
    assert_eq!(deliveries.len(), 10_000);
    let receipts = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
    fixture.consumer.settle(receipts).await.unwrap();

    fixture.publish(1).await;
    assert!(fixture.turn().await.is_err());
    fixture.there_is_room_again().await;
    assert_eq!(fixture.turn().await.unwrap(), ["click-1"]);
    assert_eq!(fixture.queue.depth().await, Ok(Depth::default()));
}
