//! The store's face: every call on a connection of its own, within a limit of time.

use std::time::Duration;

use treehook_event::{
    Account, AudienceCount, Day, DeadFilter, DeadLetter, Difference, Dimension, Event, EventStore,
    Failure, Hour, HourCount, Key, LinkId, LinkTotal, Maintained, MilestoneRow, Minute,
    MinuteCount, ProfileId, ProfileSummary, Recorded, Sketch, Statement, Tally, Timestamp,
};

use crate::connect::{Store, bounded, caught_up};
use crate::deltas::FOLD_MAX;
use crate::{deadletters, deltas, ledger, record, reports, upkeep, verify};

/// A batch is a dozen statements that each have 30 s at the server. Beyond this the server is gone
/// without a word, or so slow that starting anew is better.
const RECORD_MAX: Duration = Duration::from_mins(1);
/// One statement: somewhat more than the server gives it, so that its answer comes first.
pub(crate) const QUERY_MAX: Duration = Duration::from_secs(35);
/// An answer later than this is no sign of health.
const PING_MAX: Duration = Duration::from_secs(5);
/// A round of upkeep may drop many days, each within seconds.
const MAINTAIN_MAX: Duration = Duration::from_mins(10);
/// Reading an archive of billions of events; beyond this it has come to a stop.
const VERIFY_MAX: Duration = Duration::from_hours(6);

impl EventStore for Store {
    async fn record(&self, events: &[Event], now: Timestamp) -> Result<Recorded, Failure> {
        let shared = &self.shared;
        shared.behind.wait().await;
        bounded!(self, RECORD_MAX, |connection| record::record(connection, shared, events, now))
    }

    async fn catch_up(&self, waited: Duration) -> Result<(), Failure> {
        let behind = &self.shared.behind;
        let catching_up = async {
            bounded!(self, FOLD_MAX, |connection| deltas::catch_up_if_due(
                connection, waited, behind
            ))
        };
        let outcome = catching_up.await;
        if outcome.is_err() {
            behind.set(false);
        }
        outcome
    }

    async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        bounded!(self, RECORD_MAX, |connection| deadletters::bury(connection, letters))
    }

    async fn state(&self, statements: &[Statement], now: Timestamp) -> Result<(), Failure> {
        bounded!(self, RECORD_MAX, |connection| ledger::state(connection, statements, now))
    }

    async fn ledger(&self) -> Result<Vec<Account>, Failure> {
        bounded!(self, MAINTAIN_MAX, |connection| ledger::ledger(connection))
    }

    async fn ping(&self) -> Result<(), Failure> {
        bounded!(self, PING_MAX, |connection| sqlx::Connection::ping(connection))
    }

    async fn ready(&self) -> Result<(), Failure> {
        let instance = &self.shared.instance;
        bounded!(self, PING_MAX, |connection| record::prove_commit(connection, instance))
    }

    async fn maintain(&self, now: Timestamp, retention_days: u32) -> Result<Maintained, Failure> {
        let partitions = &self.shared.partitions;
        bounded!(self, MAINTAIN_MAX, |connection| upkeep::maintain(
            connection,
            partitions,
            now,
            retention_days
        ))
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        bounded!(self, QUERY_MAX, |connection| deadletters::list(connection, filter))
    }

    async fn remove_dead_letters(&self, letters: &[(Key, u32)]) -> Result<u64, Failure> {
        bounded!(self, QUERY_MAX, |connection| deadletters::remove(connection, letters))
    }

    async fn release_dead_letters(
        &self,
        letters: &[(Key, u32)],
        now: Timestamp,
    ) -> Result<u64, Failure> {
        bounded!(self, QUERY_MAX, |connection| deadletters::release(connection, letters, now))
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        bounded!(self, QUERY_MAX, |connection| upkeep::tally(connection))
    }

    async fn profiles(
        &self,
        after: Option<&ProfileId>,
        limit: u32,
    ) -> Result<Vec<ProfileSummary>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::profiles(connection, after, limit))
    }

    async fn profile(&self, profile: &ProfileId) -> Result<Option<ProfileSummary>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::profile(connection, profile))
    }

    async fn hours(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<HourCount>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::hours(connection, profile, from, to))
    }

    async fn minutes(
        &self,
        profile: &ProfileId,
        from: Minute,
        to: Minute,
    ) -> Result<Vec<MinuteCount>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::minutes(connection, profile, from, to))
    }

    async fn link_totals(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<LinkTotal>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::link_totals(
            connection, profile, from, to
        ))
    }

    async fn profile_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Sketch, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::profile_visitors(
            connection, profile, from, to
        ))
    }

    async fn link_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<(LinkId, Sketch)>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::link_visitors(
            connection, profile, from, to
        ))
    }

    async fn link_hours(
        &self,
        profile: &ProfileId,
        link: &LinkId,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<(Hour, u64)>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| {
            reports::link_hours(connection, profile, link, from, to)
        })
    }

    async fn audience_days(
        &self,
        profile: &ProfileId,
        slice: (Dimension, &str),
        from: Day,
        to: Day,
    ) -> Result<Vec<(Day, u64)>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| {
            reports::audience_days(connection, profile, slice, from, to)
        })
    }

    async fn audience(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> Result<Vec<AudienceCount>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::audience(connection, profile, from, to))
    }

    async fn milestones(
        &self,
        profile: &ProfileId,
        limit: u32,
    ) -> Result<Vec<MilestoneRow>, Failure> {
        caught_up!(self, QUERY_MAX, |connection| reports::milestones(connection, profile, limit))
    }

    async fn verify(&self, repair: bool) -> Result<Vec<Difference>, Failure> {
        // Of two connections: one keeps workers out until the other has its moment.
        let mut gate = self.acquire().await?;
        let found = bounded!(self, VERIFY_MAX, |connection| verify::survey(connection, &mut gate))?;
        drop(gate);
        if !repair || found.is_empty() {
            return Ok(found);
        }
        bounded!(self, VERIFY_MAX, |connection| verify::repair(connection))
    }
}
