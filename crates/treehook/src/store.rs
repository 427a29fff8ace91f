//! The store that this deployment has: Postgres where a URL is given, else SQLite in the data directory.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use treehook_event::{
    Account, AudienceCount, Day, DeadFilter, DeadLetter, Difference, Dimension, Event, EventStore,
    Failure, Hour, HourCount, Key, LinkId, LinkTotal, Maintained, MilestoneRow, Minute,
    MinuteCount, ProfileId, ProfileSummary, Recorded, Sketch, Statement, Tally, Timestamp,
};

/// One of the two.
#[derive(Clone)]
pub(crate) enum Store {
    /// A server.
    Postgres(treehook_postgres::Store),
    /// A file.
    Sqlite(treehook_sqlite::Store),
}

/// Connections of one process to Postgres: a worker records two batches at a time, the console and
/// the upkeep read beside them.
const CONNECTIONS: u32 = 7;
/// How long to wait for one of them.
const ACQUIRE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens it, creating the SQLite file if it is not there.
    pub(crate) async fn open(url: Option<&SecretString>, data_dir: &Path) -> Result<Self, Failure> {
        match url {
            Some(url) => Self::server(url).map(Self::Postgres),
            None => treehook_sqlite::Store::open(data_dir).await.map(Self::Sqlite),
        }
    }

    /// Opens what is there already.
    pub(crate) async fn open_existing(
        url: Option<&SecretString>,
        data_dir: &Path,
    ) -> Result<Self, Failure> {
        match url {
            Some(url) => Self::server(url).map(Self::Postgres),
            None => treehook_sqlite::Store::open_existing(data_dir).await.map(Self::Sqlite),
        }
    }

    /// The same store for a worker on these threads, which write it from now on; a server has threads of its own.
    pub(crate) async fn moved_here(&self) -> Result<Self, Failure> {
        match self {
            Self::Postgres(store) => Ok(Self::Postgres(store.clone())),
            Self::Sqlite(store) => store.moved_here().await.map(Self::Sqlite),
        }
    }

    /// The store of a server, which need not be there yet.
    pub(crate) fn server(url: &SecretString) -> Result<treehook_postgres::Store, Failure> {
        let options = treehook_postgres::StoreOptions {
            connections: CONNECTIONS,
            acquire_timeout: ACQUIRE,
            application_name: "treehook".to_owned(),
            schema: None,
        };
        treehook_postgres::Store::connect(url.expose_secret(), options)
    }

    /// Whether the schema is the one that this version knows. A local file is brought up to date
    /// all the same: nobody else is to do it.
    pub(crate) async fn check_schema(&self) -> Result<(), Failure> {
        match self {
            Self::Postgres(store) => store.check_schema().await,
            Self::Sqlite(store) => store.migrate().await,
        }
    }

    /// Brings the schema up to date.
    pub(crate) async fn migrate(&self) -> Result<(), Failure> {
        match self {
            Self::Postgres(store) => store.migrate().await,
            Self::Sqlite(store) => store.migrate().await,
        }
    }
}

/// Asks whichever store it is.
macro_rules! each {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::Postgres($store) => $call.await,
            Store::Sqlite($store) => $call.await,
        }
    };
}

impl EventStore for Store {
    async fn record(&self, events: &[Event], now: Timestamp) -> Result<Recorded, Failure> {
        each!(self, store => store.record(events, now))
    }

    async fn catch_up(&self, waited: Duration) -> Result<(), Failure> {
        each!(self, store => store.catch_up(waited))
    }

    async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        each!(self, store => store.bury(letters))
    }

    async fn state(&self, statements: &[Statement], now: Timestamp) -> Result<(), Failure> {
        each!(self, store => store.state(statements, now))
    }

    async fn ledger(&self) -> Result<Vec<Account>, Failure> {
        each!(self, store => store.ledger())
    }

    async fn ping(&self) -> Result<(), Failure> {
        each!(self, store => store.ping())
    }

    async fn ready(&self) -> Result<(), Failure> {
        each!(self, store => store.ready())
    }

    async fn maintain(&self, now: Timestamp, retention_days: u32) -> Result<Maintained, Failure> {
        each!(self, store => store.maintain(now, retention_days))
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        each!(self, store => store.dead_letters(filter))
    }

    async fn remove_dead_letters(&self, letters: &[(Key, u32)]) -> Result<u64, Failure> {
        each!(self, store => store.remove_dead_letters(letters))
    }

    async fn release_dead_letters(
        &self,
        letters: &[(Key, u32)],
        now: Timestamp,
    ) -> Result<u64, Failure> {
        each!(self, store => store.release_dead_letters(letters, now))
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        each!(self, store => store.tally())
    }

    async fn profiles(
        &self,
        after: Option<&ProfileId>,
        limit: u32,
    ) -> Result<Vec<ProfileSummary>, Failure> {
        each!(self, store => store.profiles(after, limit))
    }

    async fn profile(&self, profile: &ProfileId) -> Result<Option<ProfileSummary>, Failure> {
        each!(self, store => store.profile(profile))
    }

    async fn hours(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<HourCount>, Failure> {
        each!(self, store => store.hours(profile, from, to))
    }

    async fn minutes(
        &self,
        profile: &ProfileId,
        from: Minute,
        to: Minute,
    ) -> Result<Vec<MinuteCount>, Failure> {
        each!(self, store => store.minutes(profile, from, to))
    }

    async fn link_totals(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<LinkTotal>, Failure> {
        each!(self, store => store.link_totals(profile, from, to))
    }

    async fn profile_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Sketch, Failure> {
        each!(self, store => store.profile_visitors(profile, from, to))
    }

    async fn link_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<(LinkId, Sketch)>, Failure> {
        each!(self, store => store.link_visitors(profile, from, to))
    }

    async fn link_hours(
        &self,
        profile: &ProfileId,
        link: &LinkId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<(Hour, u64)>, Failure> {
        each!(self, store => store.link_hours(profile, link, from, to))
    }

    async fn audience_days(
        &self,
        profile: &ProfileId,
        slice: (Dimension, &str),
        from: Day,
        to: Day,
    ) -> Result<Vec<(Day, u64)>, Failure> {
        each!(self, store => store.audience_days(profile, slice, from, to))
    }

    async fn audience(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<AudienceCount>, Failure> {
        each!(self, store => store.audience(profile, from, to))
    }

    async fn milestones(
        &self,
        profile: &ProfileId,
        limit: u32,
    ) -> Result<Vec<MilestoneRow>, Failure> {
        each!(self, store => store.milestones(profile, limit))
    }

    async fn verify(&self, repair: bool) -> Result<Vec<Difference>, Failure> {
        each!(self, store => store.verify(repair))
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::fs::{read_dir, read_to_string};

    use super::*;
    use crate::threads::Threads;

    /// Threads of SQLite's connections in this process that have what nobody else wants.
    fn idle_connections() -> usize {
        const SCHED_IDLE: &str = "5";
        let threads = read_dir("/proc/self/task").unwrap();
        // A thread may be gone by the time that it is looked at.
        let stats =
            threads.filter_map(|thread| read_to_string(thread.ok()?.path().join("stat")).ok());
        let is_idle = |stat: &String| {
            let (name, rest) = stat.rsplit_once(')').unwrap();
            // The 41st field; the third comes after the name (proc_pid_stat(5)).
            name.contains("(sqlx-sqlite") && rest.split_whitespace().nth(38) == Some(SCHED_IDLE)
        };
        stats.filter(is_idle).count()
    }

    #[tokio::test]
    async fn a_store_that_has_moved_is_written_by_a_thread_like_those_it_moved_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(None, folder.path()).await.unwrap();
        store.migrate().await.unwrap();
        assert_eq!(idle_connections(), 0);
        let (waiting, there) = (Threads::that_wait().unwrap(), store.clone());
        let moved = waiting.run(async move { there.moved_here().await }).await.unwrap();
        assert_eq!(idle_connections(), 2);
        moved.ready().await.unwrap();
        store.ready().await.unwrap();
        assert_eq!(idle_connections(), 2);
    }
}
