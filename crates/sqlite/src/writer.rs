//! The one connection that writes to a file: whoever needs it stands in line for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard as Turn};
use tokio::time::timeout;

/// A pool of one connection. A publisher keeps it at hand while nobody else asks for it: each time that a pool is given a
/// connection back it asks the connection's thread whether it is well, two changes of thread for every publish.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pool: SqlitePool,
    shelf: Arc<Shelf>,
    /// Publishers take turns among themselves: none of them stands in line at the pool while another has the connection.
    turns: Arc<Turns<()>>,
}

/// Where the connection lies between two publishes.
#[derive(Debug, Default)]
struct Shelf(Mutex<Shelved>);

#[derive(Debug, Default)]
struct Shelved {
    connection: Option<PoolConnection<Sqlite>>,
    /// Those who stand in line for it at the pool.
    waiting: usize,
}

impl Shelf {
    fn look(&self) -> MutexGuard<'_, Shelved> {
        // Neither is ever half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // A pool takes it back by a task, and there may be no runtime any more.
        if let Some(connection) = self.look().connection.take() {
            drop(connection.detach());
        }
    }
}

/// While it lives nobody puts the connection on the shelf.
struct InLine<'a>(&'a Shelf);

impl<'a> InLine<'a> {
    fn at(shelf: &'a Shelf) -> Self {
        let mut shelved = shelf.look();
        shelved.waiting += 1;
        let connection = shelved.connection.take();
        drop(shelved);
        // Back to the pool.
        drop(connection);
        Self(shelf)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.look().waiting -= 1;
    }
}

/// The connection in the hands of one who will be back for it in a moment. Dropped, it goes back to the pool, which
/// looks whether it is well.
pub(crate) struct Kept {
    pub(crate) connection: PoolConnection<Sqlite>,
    shelf: Arc<Shelf>,
    _turn: Turn<()>,
}

impl Kept {
    /// It is well, and there next time, unless somebody stands in line for it.
    pub(crate) fn keep(self) {
        let mut shelved = self.shelf.look();
        if shelved.waiting == 0 {
            shelved.connection = Some(self.connection);
        }
    }
}

impl Writer {
    /// Of a pool that opens one connection at most.
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self { pool, shelf: Arc::default(), turns: Arc::default() }
    }

    /// The connection, once it is this one's turn.
    pub(crate) async fn acquire(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        let _line = InLine::at(&self.shelf);
        self.pool.acquire().await
    }

    /// A transaction that starts with these statements, once it is this one's turn.
    pub(crate) async fn begin_with(
        &self,
        begin: &'static str,
    ) -> sqlx::Result<Transaction<'static, Sqlite>> {
        let _line = InLine::at(&self.shelf);
        self.pool.begin_with(begin).await
    }

    /// As [`Writer::acquire`], for one who will be back in a moment.
    pub(crate) async fn acquire_again(&self) -> sqlx::Result<Kept> {
        let patience = self.pool.options().get_acquire_timeout();
        let turn = timeout(patience, Arc::clone(&self.turns).lock_owned()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let shelved = self.shelf.look().connection.take();
        let connection = match shelved {
            // The pool replaces one that goes on counting a transaction.
            Some(connection) if !connection.is_in_transaction() => connection,
            other => {
                drop(other);
                self.acquire().await?
            }
        };
        Ok(Kept { connection, shelf: Arc::clone(&self.shelf), _turn: turn })
    }

    /// Waits for whoever has the connection, and lets go of it.
    pub(crate) async fn close(&self) {
        let _line = InLine::at(&self.shelf);
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::query;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::database::pool;

    fn writer() -> Writer {
        Writer::new(pool(SqliteConnectOptions::new().in_memory(true), 1))
    }

    /// A table that is there as long as the connection is.
    async fn run(connection: &mut PoolConnection<Sqlite>, sql: &'static str) {
        query(sql).execute(&mut **connection).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_is_there_next_time_whoever_asks_for_it() {
        let writer = writer();
        let mut kept = writer.acquire_again().await.unwrap();
        run(&mut kept.connection, "create temp table here (number)").await;
        kept.keep();
        assert!(writer.shelf.look().connection.is_some());
        for _ in 0..2 {
            let mut kept = writer.acquire_again().await.unwrap();
            run(&mut kept.connection, "insert into here values (1)").await;
            kept.keep();
            let mut other = writer.acquire().await.unwrap();
            run(&mut other, "insert into here values (2)").await;
            assert!(writer.shelf.look().connection.is_none());
        }
        let transaction = writer.begin_with("begin immediate").await.unwrap();
        transaction.commit().await.unwrap();
        // Nothing says that this one is well.
        drop(writer.acquire_again().await.unwrap());
        assert!(writer.shelf.look().connection.is_none());
        writer.acquire_again().await.unwrap().keep();
        timeout(Duration::from_secs(10), writer.close()).await.unwrap();
        assert!(writer.acquire_again().await.is_err());
    }

    #[tokio::test]
    async fn one_that_is_left_in_a_transaction_is_replaced() {
        let writer = writer();
        let mut kept = writer.acquire_again().await.unwrap();
        let open = kept.connection.begin().await.unwrap();
        std::mem::forget(open);
        kept.keep();
        let kept = timeout(Duration::from_secs(10), writer.acquire_again()).await.unwrap().unwrap();
        assert!(!kept.connection.is_in_transaction());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let writer = writer();
        let kept = writer.acquire_again().await.unwrap();
        // From here on time flies while everybody waits.
        tokio::time::pause();
        let (publisher, other) = tokio::join!(writer.acquire_again(), writer.acquire());
        assert!(matches!(publisher, Err(sqlx::Error::PoolTimedOut)));
        assert!(matches!(other, Err(sqlx::Error::PoolTimedOut)));
        kept.keep();
        writer.acquire_again().await.unwrap().keep();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everybody_has_a_turn() {
        let writer = writer();
        let tasks = (0..12).map(|number| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    match number % 3 {
                        0 => drop(writer.acquire().await.unwrap()),
                        1 => writer.begin_with("begin").await.unwrap().commit().await.unwrap(),
                        _ => {
                            let mut kept = writer.acquire_again().await.unwrap();
                            run(&mut kept.connection, "select 1").await;
                            kept.keep();
                        }
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            timeout(Duration::from_mins(1), task).await.unwrap().unwrap();
        }
        let mut shelved = writer.shelf.look();
        assert_eq!(shelved.waiting, 0);
        drop(shelved.connection.take());
    }

    #[test]
    fn it_may_be_dropped_where_nothing_runs_any_more() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let writer = runtime.block_on(async {
            let writer = writer();
            writer.acquire_again().await.unwrap().keep();
            writer
        });
        drop(runtime);
        drop(writer);
    }
}
