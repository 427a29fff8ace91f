//! The store: archive, dedupe, rollups, projections, dead letters and reports in one file.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteAutoVacuum;
use treehook_event::{
    Account, AudienceCount, Day, DeadFilter, DeadLetter, Difference, Dimension, Erased, Event,
    EventStore, Failure, HistoryRow, Hour, HourCount, Key, LinkId, LinkTotal, Maintained,
    MilestoneRow, Minute, MinuteCount, ProfileId, ProfileSummary, Recorded, Sketch, Statement,
    Subjects, Tally, Timestamp, VisitorId,
};

use crate::database::{Database, Shape};
use crate::{dead, erase, history, ledger, minutes, record, reports, retention, verify};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite/store");

const SHAPE: Shape = Shape {
    file: "store.db",
    // So that a shortened retention gives its room back in small steps; a `vacuum` would copy the
    // whole archive.
    auto_vacuum: SqliteAutoVacuum::Incremental,
    // What retention or an erasure forgets shall not wait in unused pages to be found. Deleting is
    // rare here, so that it costs recording nothing.
    secure_delete: true,
    // The writer looks up random keys, the readers ranges.
    writer_cache_kib: 16_384,
    readers: 2,
    reader_cache_kib: 4096,
    // A batch changes pages all over the index of keys, and the next one many of the same: what is moved seldom is moved
    // once for several batches.
    move_bytes: 64 << 20,
    checkpoint_bytes: 96 << 20,
    log_bytes_max: 128 << 20,
};

/// The embedded store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store in a directory, and creates what is missing but the schema.
    pub async fn open(directory: &Path) -> Result<Self, Failure> {
        Ok(Self { database: Database::open(directory, &SHAPE).await? })
    }

    /// Opens the store that a directory holds; fatal when it holds none.
    pub async fn open_existing(directory: &Path) -> Result<Self, Failure> {
        Ok(Self { database: Database::open_existing(directory, &SHAPE).await? })
    }

    /// The same store for a worker on other threads. Whatever is written from now on, through any handle, is written by
    /// a thread that is started from here, and that inherits this one's priority.
    pub async fn moved_here(&self) -> Result<Self, Failure> {
        Ok(Self { database: self.database.moved_here(&SHAPE).await? })
    }

    /// Brings the schema up to date. Safe when several processes start at once.
    pub async fn migrate(&self) -> Result<(), Failure> {
        self.database.migrate(&MIGRATIONS).await
    }

    /// Closes the file. Whoever still uses this store or a clone gets a failure.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

impl EventStore for Store {
    async fn record(&self, events: &[Event], now: Timestamp) -> Result<Recorded, Failure> {
        record::record(&self.database, events, now).await
    }

    async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        dead::bury(&self.database, letters).await
    }

    async fn state(&self, statements: &[Statement], now: Timestamp) -> Result<(), Failure> {
        ledger::state(&self.database, statements, now).await
    }

    async fn ledger(&self) -> Result<Vec<Account>, Failure> {
        ledger::ledger(&self.database).await
    }

    async fn ping(&self) -> Result<(), Failure> {
        reports::ping(&self.database).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        record::ready(&self.database).await
    }

    async fn maintain(&self, now: Timestamp, retention_days: u32) -> Result<Maintained, Failure> {
        retention::maintain(&self.database, now, retention_days).await
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        dead::list(&self.database, filter).await
    }

    async fn remove_dead_letters(&self, letters: &[(Key, u32)]) -> Result<u64, Failure> {
        dead::remove(&self.database, letters).await
    }

    async fn release_dead_letters(
        &self,
        letters: &[(Key, u32)],
        now: Timestamp,
    ) -> Result<u64, Failure> {
        dead::release(&self.database, letters, now).await
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        reports::tally(&self.database).await
    }

    async fn profiles(
        &self,
        after: Option<&ProfileId>,
        limit: u32,
    ) -> Result<Vec<ProfileSummary>, Failure> {
        reports::profiles(&self.database, after, limit).await
    }

    async fn profile(&self, profile: &ProfileId) -> Result<Option<ProfileSummary>, Failure> {
        reports::profile(&self.database, profile).await
    }

    async fn hours(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<HourCount>, Failure> {
        reports::hours(&self.database, profile, from, to).await
    }

    async fn minutes(
        &self,
        profile: &ProfileId,
        from: Minute,
        to: Minute,
    ) -> Result<Vec<MinuteCount>, Failure> {
        minutes::list(&self.database, profile, from, to).await
    }

    async fn link_totals(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<LinkTotal>, Failure> {
        reports::link_totals(&self.database, profile, from, to).await
    }

    async fn profile_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Sketch, Failure> {
        reports::profile_visitors(&self.database, profile, from, to).await
    }

    async fn link_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<(LinkId, Sketch)>, Failure> {
        reports::link_visitors(&self.database, profile, from, to).await
    }

    async fn link_hours(
        &self,
        profile: &ProfileId,
        link: &LinkId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<(Hour, u64)>, Failure> {
        reports::link_hours(&self.database, profile, link, from, to).await
    }

    async fn audience_days(
        &self,
        profile: &ProfileId,
        slice: (Dimension, &str),
        from: Day,
        to: Day,
    ) -> Result<Vec<(Day, u64)>, Failure> {
        reports::audience_days(&self.database, profile, slice, from, to).await
    }

    async fn audience(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<AudienceCount>, Failure> {
        reports::audience(&self.database, profile, from, to).await
    }

    async fn milestones(
        &self,
        profile: &ProfileId,
        limit: u32,
    ) -> Result<Vec<MilestoneRow>, Failure> {
        reports::milestones(&self.database, profile, limit).await
    }

    async fn verify(&self, repair: bool) -> Result<Vec<Difference>, Failure> {
        verify::verify(&self.database, repair).await
    }
}

/// Erasing rewrites the file at its end, which takes as long as copying it and room for two more of
/// it; recording waits meanwhile. When only that fails, the failure says so, and erasing again is
/// safe.
impl Subjects for Store {
    async fn history(
        &self,
        profile: &ProfileId,
        after: Option<(Timestamp, Key)>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, Failure> {
        history::history(&self.database, profile, after, limit).await
    }

    async fn erase_visitor(&self, visitor: VisitorId) -> Result<Erased, Failure> {
        erase::visitor(&self.database, visitor).await
    }

    async fn erase_profile(&self, profile: &ProfileId) -> Result<Erased, Failure> {
        erase::profile(&self.database, profile).await
    }
}
