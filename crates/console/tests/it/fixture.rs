//! A store of canned rows: the read queries answer with them, and of what writes only dead letters go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use treehook_event::{
    Account, AudienceCount, Day, DeadFilter, DeadLetter, Difference, Dimension, Erased, Event,
    EventStore, Failure, HistoryRow, Hour, HourCount, Key, LinkId, LinkTotal, Maintained,
    MilestoneRow, Minute, MinuteCount, ProfileId, ProfileSummary, Recorded, Sketch, Statement,
    Subjects, Tally, Timestamp, VisitorId,
};

/// The rows, the same for every profile.
#[derive(Default)]
pub(crate) struct Fixture {
    pub(crate) profiles: Vec<ProfileSummary>,
    pub(crate) hours: Vec<HourCount>,
    pub(crate) minutes: Vec<MinuteCount>,
    pub(crate) links: Vec<LinkTotal>,
    pub(crate) visitors: Option<Sketch>,
    pub(crate) link_visitors: Vec<(LinkId, Sketch)>,
    pub(crate) audience: Vec<AudienceCount>,
    pub(crate) milestones: Vec<MilestoneRow>,
    /// Latest first.
    pub(crate) history: Vec<HistoryRow>,
    /// In order of key; shared with whoever redrives them.
    pub(crate) dead: Arc<Mutex<Vec<DeadLetter>>>,
    /// What every query answers instead of rows.
    pub(crate) failure: Option<Failure>,
    /// Never answer at all.
    pub(crate) stalled: bool,
    /// How many queries came.
    pub(crate) queries: Arc<AtomicUsize>,
}

impl Fixture {
    async fn answer<T>(&self, rows: impl FnOnce() -> T) -> Result<T, Failure> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        if self.stalled {
            std::future::pending::<()>().await;
        }
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(rows()),
        }
    }
}

/// Removes these dead letters; how many were there.
pub(crate) fn remove(dead: &Mutex<Vec<DeadLetter>>, letters: &[(Key, u32)]) -> u64 {
    let mut dead = dead.lock().unwrap_or_else(PoisonError::into_inner);
    let before = dead.len();
    dead.retain(|letter| !letters.contains(&(letter.key(), letter.attempts)));
    u64::try_from(before - dead.len()).unwrap_or(u64::MAX)
}

fn matches(letter: &DeadLetter, filter: &DeadFilter) -> bool {
    let head = letter.reason.split(':').next().unwrap_or_default();
    filter.reason.as_ref().is_none_or(|reason| *reason == letter.reason || reason == head)
        && filter.source.as_deref().is_none_or(|source| source == letter.source.as_str())
        && filter.event_type.as_deref().is_none_or(|kind| kind == letter.event_type.as_str())
        && filter.profile.as_deref().is_none_or(|profile| {
            letter.profile_id.as_ref().is_some_and(|named| named.as_str() == profile)
        })
        && filter.after.is_none_or(|after| letter.key() > after)
        && (filter.ids.is_empty() || filter.ids.contains(&letter.key()))
}

fn read_only<T>() -> Result<T, Failure> {
    Err(Failure::fatal("read_only", "the console writes nothing"))
}

impl EventStore for Fixture {
    async fn record(&self, _: &[Event], _: Timestamp) -> Result<Recorded, Failure> {
        read_only()
    }

    async fn bury(&self, _: &[DeadLetter]) -> Result<(), Failure> {
        read_only()
    }

    async fn state(&self, _: &[Statement], _: Timestamp) -> Result<(), Failure> {
        Err(Failure::fatal("not_asked", "the console states nothing"))
    }

    async fn ledger(&self) -> Result<Vec<Account>, Failure> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<(), Failure> {
        self.answer(|| ()).await
    }

    async fn maintain(&self, _: Timestamp, _: u32) -> Result<Maintained, Failure> {
        read_only()
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        let found = || {
            let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
            let matching = dead.iter().filter(|letter| matches(letter, filter));
            matching.take(filter.limit as usize).cloned().collect()
        };
        self.answer(found).await
    }

    async fn remove_dead_letters(&self, letters: &[(Key, u32)]) -> Result<u64, Failure> {
        self.answer(|| remove(&self.dead, letters)).await
    }

    async fn release_dead_letters(
        &self,
        letters: &[(Key, u32)],
        _: Timestamp,
    ) -> Result<u64, Failure> {
        self.remove_dead_letters(letters).await
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        self.answer(Tally::default).await
    }

    async fn profiles(
        &self,
        after: Option<&ProfileId>,
        limit: u32,
    ) -> Result<Vec<ProfileSummary>, Failure> {
        let beyond = |row: &&ProfileSummary| after.is_none_or(|after| row.profile_id > *after);
        let rows = self.profiles.iter().filter(beyond).take(limit as usize);
        self.answer(|| rows.cloned().collect()).await
    }

    async fn profile(&self, profile: &ProfileId) -> Result<Option<ProfileSummary>, Failure> {
        let found = self.profiles.iter().find(|row| row.profile_id == *profile);
        self.answer(|| found.cloned()).await
    }

    async fn hours(&self, _: &ProfileId, from: Hour, to: Hour) -> Result<Vec<HourCount>, Failure> {
        let within = self.hours.iter().filter(|count| count.hour >= from && count.hour < to);
        self.answer(|| within.copied().collect()).await
    }

    async fn minutes(
        &self,
        _: &ProfileId,
        from: Minute,
        to: Minute,
    ) -> Result<Vec<MinuteCount>, Failure> {
        let within = self.minutes.iter().filter(|it| it.minute >= from && it.minute < to);
        self.answer(|| within.copied().collect()).await
    }

    async fn link_totals(
        &self,
        _: &ProfileId,
        _: Hour,
        _: Hour,
    ) -> Result<Vec<LinkTotal>, Failure> {
        self.answer(|| self.links.clone()).await
    }

    async fn profile_visitors(&self, _: &ProfileId, _: Day, _: Day) -> Result<Sketch, Failure> {
        self.answer(|| self.visitors.clone().unwrap_or_else(Sketch::for_profile)).await
    }

    async fn link_visitors(
        &self,
        _: &ProfileId,
        _: Day,
        _: Day,
    ) -> Result<Vec<(LinkId, Sketch)>, Failure> {
        self.answer(|| self.link_visitors.clone()).await
    }

    async fn link_hours(
        &self,
        _: &ProfileId,
        link: &LinkId,
        from: Hour,
        _: Hour,
    ) -> Result<Vec<(Hour, u64)>, Failure> {
        let found = self.links.iter().find(|total| total.link_id == *link);
        self.answer(|| found.map(|total| (from, total.clicks)).into_iter().collect()).await
    }

    async fn audience_days(
        &self,
        _: &ProfileId,
        slice: (Dimension, &str),
        from: Day,
        to: Day,
    ) -> Result<Vec<(Day, u64)>, Failure> {
        let mut found =
            self.audience.iter().filter(|row| (row.dimension, row.value.as_str()) == slice);
        let clicks = found.next().map(|row| row.clicks);
        // Each day the same.
        let days = (from.0..to.0).filter_map(|day| Some((Day(day), clicks?)));
        self.answer(|| days.collect()).await
    }

    async fn audience(&self, _: &ProfileId, _: Day, _: Day) -> Result<Vec<AudienceCount>, Failure> {
        self.answer(|| self.audience.clone()).await
    }

    async fn milestones(&self, _: &ProfileId, limit: u32) -> Result<Vec<MilestoneRow>, Failure> {
        let rows = self.milestones.iter().take(limit as usize);
        self.answer(|| rows.cloned().collect()).await
    }

    async fn verify(&self, _: bool) -> Result<Vec<Difference>, Failure> {
        read_only()
    }
}

impl Subjects for Fixture {
    async fn history(
        &self,
        _: &ProfileId,
        after: Option<(Timestamp, Key)>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, Failure> {
        let beyond = |row: &&HistoryRow| after.is_none_or(|after| (row.at, row.key) < after);
        let rows = self.history.iter().filter(beyond).take(limit as usize);
        self.answer(|| rows.cloned().collect()).await
    }

    async fn erase_visitor(&self, _: VisitorId) -> Result<Erased, Failure> {
        read_only()
    }

    async fn erase_profile(&self, _: &ProfileId) -> Result<Erased, Failure> {
        read_only()
    }
}
