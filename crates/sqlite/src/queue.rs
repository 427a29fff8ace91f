//! The queue: what workers drain in embedded mode, and the receiver's outbox.

use std::path::Path;
use std::sync::Arc;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteAutoVacuum;
use sqlx::{QueryBuilder, query, query_as, query_scalar};
use tokio::runtime::Handle;
use tokio::sync::watch;
use treehook_event::{Accepted, Compression, Event, Failure, Packet, Publisher, Timestamp};

use crate::classify::failure;
use crate::consumer::QueueConsumer;
use crate::database::{Database, Disk, Shape};
use crate::suspicion::{self, Suspicion};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite/queue");

const SHAPE: Shape = Shape {
    file: "queue.db",
    // Deleted rows leave pages that the next ones reuse, so the file never outgrows the limit by
    // much; and it is given back whole when the queue runs empty ([`Queue::shrink`]), which is
    // cheaper than to keep account of every page's owner.
    auto_vacuum: SqliteAutoVacuum::None,
    // Every batch is deleted within moments, and overwriting it would cost as much as writing it.
    secure_delete: false,
    writer_cache_kib: 2048,
    readers: 1,
    reader_cache_kib: 1024,
    move_bytes: 2 << 20,
    checkpoint_bytes: 8 << 20,
    log_bytes_max: 16 << 20,
};

/// Free pages from which on the file is worth shrinking: 16 MiB.
const FREE_PAGES_MAX: i64 = 4096;
/// Live bytes up to which it is cheap: shrinking copies what is live.
const SHRINK_BYTES_MAX: u64 = 1 << 20;

/// Bytes left on the disk below which the file does not grow any more. On a disk that is full to the last
/// byte nothing can be taken out either: deleting writes to the log, and the log (8 MiB of pages, and what
/// comes while they are moved) is moved into a file that may have to grow for it. With this much there is room
/// for both, twice; of a small disk it is half.
const ROOM_MIN: u64 = 24 << 20;
/// What a publish may need beside its bytes, in unused pages of the file: splits of its tree.
const SPLITS_MAX: i64 = 64 << 10;

/// Rows in one statement up to which it stays prepared.
const PERSISTENT_ROWS_MAX: usize = 16;

/// What bounds a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of encoded events, at most.
    pub max_bytes: u64,
}

impl Default for QueueLimits {
    /// 10 GiB: days of an outage for most, and a disk that most have.
    fn default() -> Self {
        Self { max_bytes: 10 << 30 }
    }
}

/// What is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Events that are not settled.
    pub events: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// When the oldest of them was published.
    pub oldest: Option<Timestamp>,
}

/// A durable queue in one file. Clones share it.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) database: Database,
    max_bytes: i64,
    published: Arc<watch::Sender<()>>,
    /// The threads that it was opened on.
    home: Handle,
}

impl Queue {
    /// Opens the queue in a directory, and creates what is missing.
    pub async fn open(directory: &Path, limits: QueueLimits) -> Result<Self, Failure> {
        Self::ready(Database::open(directory, &SHAPE).await?, limits).await
    }

    /// Opens the queue that a directory holds; fatal when it holds none.
    pub async fn open_existing(directory: &Path, limits: QueueLimits) -> Result<Self, Failure> {
        Self::ready(Database::open_existing(directory, &SHAPE).await?, limits).await
    }

    async fn ready(database: Database, limits: QueueLimits) -> Result<Self, Failure> {
        database.migrate(&MIGRATIONS).await?;
        let max_bytes = i64::try_from(limits.max_bytes).unwrap_or(i64::MAX);
        let published = Arc::new(watch::Sender::new(()));
        Ok(Self { database, max_bytes, published, home: Handle::current() })
    }

    /// What needs the writer, whoever asks for it: on the threads that the queue was opened on. Those of a worker may
    /// wait for a core for long, and whoever publishes would wait for them to hand the writer back.
    pub(crate) async fn at_home<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.home.spawn(work).await.unwrap_or_else(|error| Err(Failure::fatal("panic", error)))
    }

    /// A consumer that starts at the oldest event.
    pub fn consumer(&self) -> QueueConsumer {
        QueueConsumer::new(self.clone(), self.published.subscribe(), Suspicion::None)
    }

    /// The same for a relay, which passes events on unopened.
    pub fn relay(&self) -> QueueConsumer<Packet> {
        QueueConsumer::new(self.clone(), self.published.subscribe(), Suspicion::None)
    }

    /// The same for a worker, which events may kill: what it seems to have died of time and again is
    /// handed out alone, and then given up. One at a time, and [`Queue::end_well`] after it.
    pub fn wary_consumer(&self) -> QueueConsumer {
        QueueConsumer::new(self.clone(), self.published.subscribe(), Suspicion::Unknown)
    }

    /// The worker ends in good order, whatever it has left: nothing killed it.
    pub async fn end_well(&self) -> Result<(), Failure> {
        let database = self.database.clone();
        let forgetting = async move { suspicion::forget(&mut *database.writer().await?).await };
        self.at_home(forgetting).await
    }

    /// What is in the queue, whichever process put it there.
    pub async fn depth(&self) -> Result<Depth, Failure> {
        let (events, bytes, oldest): (i64, i64, Option<i64>) = query_as(
            "select events, bytes, (select created_at from batches order by id limit 1) from totals",
        )
        .fetch_one(self.database.readers())
        .await
        .map_err(failure)?;
        Ok(Depth {
            events: u64::try_from(events).unwrap_or(0),
            bytes: u64::try_from(bytes).unwrap_or(0),
            oldest: oldest.map(Timestamp::from_millis),
        })
    }

    /// Gives the file's room back to the disk, if there is much of it and nearly nothing in it.
    pub(crate) async fn shrink(&self) -> Result<(), Failure> {
        let free: i64 = query_scalar("select freelist_count from pragma_freelist_count")
            .fetch_one(self.database.readers())
            .await
            .map_err(failure)?;
        if free < FREE_PAGES_MAX || self.depth().await?.bytes > SHRINK_BYTES_MAX {
            return Ok(());
        }
        let mut writer = self.database.writer().await?;
        query("vacuum").execute(&mut *writer).await.map_err(failure)?;
        // The file itself is cut when the log is moved into it.
        query("pragma wal_checkpoint(truncate)").execute(&mut *writer).await.map_err(failure)?;
        Ok(())
    }

    /// Closes the file. Whoever still uses this queue or a clone gets a failure.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

impl Publisher for Queue {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        if events.is_empty() {
            return Ok(Accepted::Queued);
        }
        // Each with the bytes of its JSON.
        let packets: Vec<(usize, Packet)> = Packet::pack(events)
            .into_iter()
            .map(|packet| (packet.body.len(), packet.compressed(Compression::Lz4)))
            .collect();
        let bytes = size(packets.iter().map(|(bytes, _)| bytes).sum());
        let length: usize = packets.iter().map(|(_, packet)| packet.body.len()).sum();
        let disk = self.database.disk();
        let may_grow = disk.is_none_or(|disk| {
            let room = ROOM_MIN.min(disk.size / 2);
            disk.free >= room.saturating_add(length as u64)
        });
        // One statement is one transaction, and it is on disk when it returns.
        let mut insert = QueryBuilder::new(
            "insert into batches (events, bytes, routing_key, payload, encoding) select * from (",
        );
        insert.push_values(&packets, |mut row, (bytes, packet)| {
            row.push_bind(size(packet.events))
                .push_bind(size(*bytes))
                .push_bind(&*packet.routing_key)
                .push_bind(packet.body.as_slice())
                .push_bind(packet.compression.name());
        });
        insert.push(") where (select bytes from totals) + ").push_bind(bytes);
        insert.push(" <= ").push_bind(self.max_bytes);
        insert.push(" and (").push_bind(may_grow).push(" or ").push_bind(size(length) + SPLITS_MAX);
        insert.push(
            " <= (select freelist_count * page_size from pragma_freelist_count, pragma_page_size))",
        );
        let mut writer = self.database.kept_writer().await?;
        let inserted = insert
            .build()
            // As many texts as there are numbers of packets: only the usual ones are worth keeping.
            .persistent(packets.len() <= PERSISTENT_ROWS_MAX)
            .execute(&mut *writer.connection)
            .await
            .map_err(failure)?;
        writer.keep();
        if inserted.rows_affected() == 0 {
            let full = format!("{bytes} more bytes would pass the limit of {}", self.max_bytes);
            let (reason, detail) = match disk {
                Some(Disk { free, .. }) if !may_grow => {
                    ("disk_full", format!("{free} bytes are left on its disk, or {full}"))
                }
                Some(_) | None => ("outbox_full", full),
            };
            return Err(Failure::transient(reason, detail));
        }
        self.database.wrote(length as u64);
        self.published.send_replace(());
        Ok(Accepted::Queued)
    }

    /// A file has one writer.
    fn at_once(&self) -> usize {
        1
    }
}

/// A length as SQLite counts.
fn size(length: usize) -> i64 {
    i64::try_from(length).expect("what is in memory is shorter than 2^63")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::distr::{Alphanumeric, SampleString as _};
    use tempfile::TempDir;
    use treehook_event::Consumer as _;

    use super::*;

    /// An event of so many bytes that do not get smaller.
    fn large(bytes: usize) -> Event {
        let text = Alphanumeric.sample_string(&mut rand::rng(), bytes);
        Event::unreadable(text.as_bytes(), "large", Timestamp::default())
    }

    #[tokio::test]
    async fn what_is_alike_takes_a_fraction_of_the_disk_and_counts_whole() {
        let folder = TempDir::new().unwrap();
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        let alike = Event::unreadable(&vec![b'x'; 4 << 20], "large", Timestamp::default());
        queue.publish(std::slice::from_ref(&alike)).await.unwrap();
        assert!(queue.depth().await.unwrap().bytes > 4 << 20);
        let taken = queue.consumer().receive(1, Duration::ZERO).await.unwrap();
        assert_eq!(taken[0].events, [alike]);
        queue.close().await;
        assert!(std::fs::metadata(folder.path().join("queue.db")).unwrap().len() < 1 << 20);
    }

    #[tokio::test]
    async fn its_log_stays_short_while_many_publish_without_a_pause() {
        let folder = TempDir::new().unwrap();
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        let event = large(64 << 10);
        let publishers = (0..4).map(|_| {
            let (queue, event) = (queue.clone(), event.clone());
            tokio::spawn(async move {
                for _ in 0..160 {
                    queue.publish(std::slice::from_ref(&event)).await.unwrap();
                }
            })
        });
        for publisher in publishers.collect::<Vec<_>>() {
            publisher.await.unwrap();
        }
        let length = |name| std::fs::metadata(folder.path().join(name)).unwrap().len();
        // 40 MiB went through it.
        assert!(length("queue.db-wal") < 12 << 20, "{} bytes", length("queue.db-wal"));
        queue.close().await;
        assert!(!folder.path().join("queue.db-wal").exists());
        assert!(length("queue.db") >= 40 << 20);
    }

    #[tokio::test]
    async fn an_emptied_queue_gives_its_room_back_and_goes_on_counting() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("queue.db");
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        let mut consumer = queue.consumer();
        let mebibyte = large(1 << 20);
        for _ in 0..20 {
            queue.publish(std::slice::from_ref(&mebibyte)).await.unwrap();
        }
        queue.shrink().await.unwrap();
        assert_eq!(queue.depth().await.unwrap().events, 20);
        let mut received = 0;
        while received < 20 {
            let deliveries = consumer.receive(20, Duration::ZERO).await.unwrap();
            received += deliveries.len();
            consumer.settle(deliveries.into_iter().map(|d| d.receipt).collect()).await.unwrap();
        }
        assert!(std::fs::metadata(&file).unwrap().len() > 16 << 20);
        queue.shrink().await.unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() < 1 << 20);

        queue.publish(&[mebibyte]).await.unwrap();
        assert_eq!(consumer.receive(20, Duration::ZERO).await.unwrap().len(), 1);
    }
}
