//! One database file: how it is opened, its single writer and its few readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqlitePool, Transaction, query, query_as,
};
use tokio::time::Instant;
use tracing::warn;
use treehook_event::Failure;

use crate::bulk::MERGED_MAX;
use crate::classify::{failure, is_busy, migration, opening, unopenable};
use crate::writer::{Kept, Writer};

/// How long to stand in line behind another process that is creating the same file.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a statement waits for another process's transaction: longer than any step of `verify`
/// and `maintain` holds one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a connection of ours: the one in front may wait for the lock itself.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
/// A page, in bytes: SQLite's default.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// What a commit adds to the log beside its own bytes, at least.
const COMMIT_BYTES: u64 = 3 * PAGE_BYTES;
/// Rows per index that are sampled for the query planner: what SQLite's manual recommends.
const ANALYSIS_ROWS: u32 = 400;

/// What is particular to one file. Caches are bounded by the memory that a process may have.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) file: &'static str,
    pub(crate) auto_vacuum: SqliteAutoVacuum,
    /// Whether what is deleted is overwritten as well.
    pub(crate) secure_delete: bool,
    pub(crate) writer_cache_kib: u32,
    pub(crate) readers: u32,
    pub(crate) reader_cache_kib: u32,
    /// Bytes committed, about, before they are moved from the log into the file beside the writer: so early that the
    /// writer seldom has to.
    pub(crate) move_bytes: u64,
    /// Bytes in the log before whoever commits moves them.
    pub(crate) checkpoint_bytes: u64,
    /// What the log is cut back to once a long reader or a large transaction has let it grow.
    pub(crate) log_bytes_max: u64,
}

/// Bytes of a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    pub(crate) size: u64,
    /// Left for this process.
    pub(crate) free: u64,
}

/// A database file that is open.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    path: PathBuf,
    writer: Writer,
    readers: SqlitePool,
    /// Moves the log into the file beside the writer.
    mover: SqlitePool,
    log: Arc<Log>,
    move_bytes: u64,
}

/// What is known of the log without a look at it.
#[derive(Debug, Default)]
struct Log {
    /// Bytes committed since it was moved last, about.
    bytes: AtomicU64,
    is_moving: AtomicBool,
}

/// While it lives the log is being moved.
struct Moving(Arc<Log>);

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.is_moving.store(false, Ordering::Relaxed);
    }
}

impl Database {
    /// Opens the file in `directory`, and creates what is missing.
    pub(crate) async fn open(directory: &Path, shape: &Shape) -> Result<Self, Failure> {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true);
        // What is in it is nobody else's business.
        #[cfg(unix)]
        builder.mode(0o700);
        let created = builder.create(directory).await;
        created.map_err(|error| unopenable(directory, &error.to_string()))?;
        let path = directory.join(shape.file);
        prepare(&path, shape).await?;
        Ok(Self::connect(path, shape))
    }

    /// Opens the file in `directory`, which must be there.
    pub(crate) async fn open_existing(directory: &Path, shape: &Shape) -> Result<Self, Failure> {
        let path = directory.join(shape.file);
        match tokio::fs::try_exists(&path).await {
            Ok(true) => Self::open(directory, shape).await,
            Ok(false) => Err(Failure::fatal(
                "no_database",
                format!(
                    "{}: there is no such file: nothing has run in this directory yet; start \
                     `treehook serve`, or set TREEHOOK_DATA_DIR to the directory that it uses",
                    path.display()
                ),
            )),
            Err(error) => Err(unopenable(&path, &error.to_string())),
        }
    }

    fn connect(path: PathBuf, shape: &Shape) -> Self {
        // One writer, as in SQLite itself: ours stand in line here instead of spinning on its lock.
        let secure_delete = if shape.secure_delete { "on" } else { "off" };
        let writer =
            options(&path, shape, shape.writer_cache_kib).pragma("secure_delete", secure_delete);
        let writer = Writer::new(pool(writer, 1));
        let reader = options(&path, shape, shape.reader_cache_kib).pragma("query_only", "on");
        let readers = pool(reader.clone(), shape.readers);
        let mover = pool(reader, 1);
        let move_bytes = shape.move_bytes;
        Self { path, writer, readers, mover, log: Arc::default(), move_bytes }
    }

    /// The same file for whoever works on other threads: read through connections of its own, and written through the
    /// one that everybody shares, who stand in line for it. A connection's thread is as urgent as the one that opened
    /// it, and so the shared ones are opened anew from here.
    pub(crate) async fn moved_here(&self, shape: &Shape) -> Result<Self, Failure> {
        self.writer.acquire().await.map_err(failure)?.close().await.map_err(failure)?;
        drop(self.writer.acquire().await.map_err(failure)?);
        self.mover.acquire().await.map_err(failure)?.close().await.map_err(failure)?;
        drop(self.mover.acquire().await.map_err(failure)?);
        let (writer, mover) = (self.writer.clone(), self.mover.clone());
        let log = Arc::clone(&self.log);
        Ok(Self { writer, mover, log, ..Self::connect(self.path.clone(), shape) })
    }

    /// Brings the schema up to date.
    pub(crate) async fn migrate(&self, migrator: &Migrator) -> Result<(), Failure> {
        // The migrator takes no lock of its own with SQLite. Inside this transaction whoever comes
        // second waits, and then finds everything applied.
        let mut transaction = self.write().await?;
        let applied = migrator.run_direct(None, &mut *transaction, false).await;
        applied.map_err(|error| migration(error, &self.path))?;
        transaction.commit().await.map_err(failure)
    }

    /// A transaction that may write, once nobody else does.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        // `immediate`: a transaction that starts by reading cannot always be promoted.
        let begin = "pragma temp_store = file; begin immediate";
        self.writer.begin_with(begin).await.map_err(failure)
    }

    /// The same for many small statements: what each would have to take back if it failed, every page that it changes as
    /// it was before, is kept in memory. Otherwise most of them write it to a temporary file.
    pub(crate) async fn write_small(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        let begin = "pragma temp_store = memory; begin immediate";
        self.writer.begin_with(begin).await.map_err(failure)
    }

    /// A transaction that sees the file as it is at its first query, whatever is written meanwhile.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.readers.begin().await.map_err(failure)
    }

    /// For single statements that write, once nobody else does.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        self.writer.acquire().await.map_err(failure)
    }

    /// The same for one who writes again in a moment.
    pub(crate) async fn kept_writer(&self) -> Result<Kept, Failure> {
        self.writer.acquire_again().await.map_err(failure)
    }

    /// For single statements that read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Tells of bytes that were just committed. Once there are many the log is moved into the file, by a task of
    /// its own: where that fails, whoever commits does it later. Never by somebody who gives way to another writer of
    /// this file: that one would wait while this holds the log in its hands.
    pub(crate) fn wrote(&self, bytes: u64) {
        let bytes = bytes + COMMIT_BYTES;
        let unmoved = self.log.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unmoved < self.move_bytes || self.log.is_moving.swap(true, Ordering::Relaxed) {
            return;
        }
        self.log.bytes.store(0, Ordering::Relaxed);
        let database = self.clone();
        let moving = Moving(Arc::clone(&self.log));
        tokio::spawn(async move {
            let _moving = moving;
            if let Err(error) = database.move_log().await
                && !database.mover.is_closed()
            {
                let cause = error.cause();
                warn!(reason = cause.reason, "the log is not moved yet: {}", cause.detail);
            }
        });
    }

    /// Moves the log into the file, nearly all of its pages beside the writer: whoever waits for a commit would wait
    /// for this too. What is written meanwhile, and the file's sync then, are left to the writer itself, who starts
    /// the log over after it.
    pub(crate) async fn move_log(&self) -> Result<(), Failure> {
        let move_pages = "pragma wal_checkpoint(passive)";
        query(move_pages).execute(&self.mover).await.map_err(failure)?;
        query(move_pages).execute(&mut *self.writer().await?).await.map_err(failure)?;
        Ok(())
    }

    /// The disk that holds the file; nothing where nobody can tell.
    pub(crate) fn disk(&self) -> Option<Disk> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Disk { size: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
    }

    /// Rewrites the file and empties the log, so that nothing that was deleted is left in either.
    /// Takes as long as copying what is kept; nobody else can write meanwhile.
    pub(crate) async fn scrub(&self) -> Result<(), Failure> {
        // Overwriting what is deleted is not enough: when a page of a tree is split or joined,
        // copies of what has moved stay in its unused room.
        // As large as what is kept: never in memory, whoever wrote last.
        let mut writer = self.writer().await?;
        let vacuum = query("pragma temp_store = file; vacuum");
        vacuum.execute(&mut *writer).await.map_err(failure)?;
        let (is_busy, _, _): (bool, i64, i64) = query_as("pragma wal_checkpoint(truncate)")
            .fetch_one(&mut *writer)
            .await
            .map_err(failure)?;
        if is_busy {
            return Err(Failure::transient("database_busy", "somebody reads from the log"));
        }
        Ok(())
    }

    /// Moves the log into the file and lets go of both.
    pub(crate) async fn close(&self) {
        self.mover.close().await;
        self.readers.close().await;
        // Last, since the last connection of all is the one that removes the log.
        self.writer.close().await;
    }
}

fn options(path: &Path, shape: &Shape, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // `normal`, as is usual beside a log, would let a power cut take what a 202 has promised.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("wal_autocheckpoint", (shape.checkpoint_bytes / PAGE_BYTES).to_string())
        .pragma("journal_size_limit", shape.log_bytes_max.to_string())
        .analysis_limit(ANALYSIS_ROWS)
        // The rows of one look at what is stored: its thread goes on without waiting for whoever reads them.
        .row_buffer_size(MERGED_MAX)
        .disable_statement_logging()
}

pub(crate) fn pool(options: SqliteConnectOptions, connections: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        // Connections hold prepared statements and a warm cache: they stay.
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // When the disk is full SQLite rolls back by itself, and the driver goes on counting a
        // transaction that it could not roll back a second time. Such a connection is replaced.
        .before_acquire(|connection, _| {
            let sound = !connection.is_in_transaction();
            Box::pin(async move { Ok(sound) })
        })
        .connect_lazy_with(options)
}

/// Creates the file if need be and settles what the file itself remembers.
async fn prepare(path: &Path, shape: &Shape) -> Result<(), Failure> {
    let mut options = options(path, shape, shape.reader_cache_kib)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    // Only while the file is empty: later it has no effect but a write.
    if tokio::fs::metadata(path).await.map_or(true, |metadata| metadata.len() == 0) {
        options = options.auto_vacuum(shape.auto_vacuum);
    }
    let patience = Instant::now() + OPEN_PATIENCE;
    loop {
        match options.connect().await {
            Ok(connection) => {
                return connection.close().await.map_err(|error| opening(error, path));
            }
            // SQLite does not wait by itself when a file changes to the log's mode.
            Err(error) if is_busy(&error) && Instant::now() < patience => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(opening(error, path)),
        }
    }
}
