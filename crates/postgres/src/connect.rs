//! The pool: how the database is reached, and how long anything may take.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, Postgres};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use treehook_event::Failure;

use crate::caution::Caution;
use crate::classify;
use crate::deltas::Behind;
use crate::partitions::Partitions;
use crate::turns::Turns;

/// What the server does to a statement of ours that takes longer: far beyond what a batch or a
/// report needs, and well within the time for which a queue lets a delivery be held.
const STATEMENT_TIMEOUT: &str = "30s";
/// What the server does to a transaction that nobody drives on: its locks would hold up everybody.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "30s";

/// How the database is reached.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// At most this many connections.
    pub connections: u32,
    /// How long to wait for a connection, new or free.
    pub acquire_timeout: Duration,
    /// What the server's own views call us.
    pub application_name: String,
    /// The schema that holds the tables; none means the one that the URL or the user's default says.
    pub schema: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            // A worker records three batches at a time, and folds; the rest is for reports beside it.
            connections: 8,
            acquire_timeout: Duration::from_secs(5),
            application_name: "treehook".to_owned(),
            schema: None,
        }
    }
}

/// The server store. Clones share one pool.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What clones of a store share.
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) partitions: Partitions,
    pub(crate) caution: Caution,
    pub(crate) behind: Behind,
    pub(crate) turns: Turns,
    /// This process's row in `tallies`: 32 hexadecimal digits.
    pub(crate) instance: String,
    pub(crate) server: PgConnectOptions,
    pub(crate) schema: Option<String>,
    pub(crate) acquire_timeout: Duration,
    /// Wakes whoever waits for announcements.
    pub(crate) announced: watch::Sender<()>,
}

impl std::fmt::Debug for Store {
    /// Nothing of the connection's options: they hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("schema", &self.shared.schema).finish_non_exhaustive()
    }
}

impl Store {
    /// Connects when it is first used, so that a worker may start while the database is down. Called
    /// within a runtime.
    pub fn connect(url: &str, options: StoreOptions) -> Result<Self, Failure> {
        let server = server(url, &options)?;
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .connect_lazy_with(server.clone());
        let shared = Shared {
            pool,
            partitions: Partitions::default(),
            caution: Caution::default(),
            behind: Behind::default(),
            turns: Turns::default(),
            instance: format!("{:032x}", rand::random::<u128>()),
            server,
            schema: options.schema,
            acquire_timeout: options.acquire_timeout,
            announced: watch::Sender::new(()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Closes every connection, once what is in flight is done.
    pub async fn close(&self) {
        self.shared.pool.close().await;
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Failure> {
        self.shared.pool.acquire().await.map_err(classify::failure)
    }
}

/// A connection at work. Dropped before the work has ended it is closed: the driver does not count every answer that is
/// still to come, and whoever had the connection next would take it for his own.
pub(crate) struct AtWork(Option<PoolConnection<Postgres>>);

impl AtWork {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self(Some(connection))
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is there until the work ends")
    }

    /// Ends work that was given a limit of time. Past it the connection is closed: the server's own limits came and
    /// went without a word of it, so that the other end is gone.
    pub(crate) fn end<T>(
        mut self,
        outcome: Result<sqlx::Result<T>, Elapsed>,
    ) -> Result<T, Failure> {
        let Ok(outcome) = outcome else {
            return Err(Failure::transient("timeout", "the database did not answer in time"));
        };
        drop(self.0.take());
        outcome.map_err(classify::failure)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// Runs work on a connection of the pool within a limit of time.
macro_rules! bounded {
    ($store:expr, $limit:expr, |$connection:ident| $work:expr) => {{
        let mut at_work = $crate::connect::AtWork::new($store.acquire().await?);
        let $connection = at_work.connection();
        let outcome = tokio::time::timeout($limit, $work).await;
        at_work.end(outcome)
    }};
}
pub(crate) use bounded;

/// As [`bounded!`], of rollups: what was recorded before is folded in first.
macro_rules! caught_up {
    ($store:expr, $limit:expr, |$connection:ident| $work:expr) => {{
        $crate::connect::bounded!($store, $crate::deltas::FOLD_MAX + $limit, |$connection| async {
            $crate::deltas::catch_up_to_read($connection).await?;
            $work.await
        })
    }};
}
pub(crate) use caught_up;

fn server(url: &str, options: &StoreOptions) -> Result<PgConnectOptions, Failure> {
    // The URL holds a password: no message may quote it.
    let unusable = || {
        let expected = "expected postgres://user:password@host:5432/database";
        Failure::fatal("database_url", format!("the database URL cannot be read: {expected}"))
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(unusable());
    }
    let server = PgConnectOptions::from_str(url)
        .map_err(|_| unusable())?
        .application_name(&options.application_name)
        // A general plan locks every day of the archive; one for the values at hand locks one.
        .options([
            ("plan_cache_mode", "force_custom_plan"),
            // Compiling a statement takes longer than any of ours runs, and what the planner guesses of
            // a day that was never analyzed makes it compile.
            ("jit", "off"),
            // Where the server's or the role's own default is `off`, a crash would take back a
            // commit that has been answered for.
            ("synchronous_commit", "on"),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
            // Neither of the two ends a `COPY` whose sender has vanished with its machine: this does, within a minute.
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ])
        .disable_statement_logging();
    let Some(schema) = &options.schema else { return Ok(server) };
    if !is_plain_name(schema) {
        let rule = "a schema's name is 1 to 63 of a-z, 0-9 and _, and begins with no digit";
        return Err(Failure::fatal("database_schema", rule));
    }
    Ok(server.options([("search_path", schema)]))
}

/// Whether a name needs no quoting.
fn is_plain_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (1..=63).contains(&name.len())
        && name.chars().all(fits)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_fatal_and_not_quoted() {
        for url in ["", "secret", "mysql://u:secret@h/d", "postgres://u:secret@h:port/d"] {
            let refused = server(url, &StoreOptions::default()).expect_err(url);
            assert!(matches!(refused, Failure::Fatal(_)), "{url}");
            assert!(!refused.to_string().contains("secret"), "{url}");
        }
    }

    #[test]
    fn a_schema_needs_no_quoting() {
        for (name, plain) in
            [("treehook", true), ("a_1", true), ("", false), ("1a", false), ("a b", false)]
        {
            let options = StoreOptions { schema: Some(name.to_owned()), ..StoreOptions::default() };
            assert_eq!(server("postgres://h/d", &options).is_ok(), plain, "{name}");
        }
    }
}
