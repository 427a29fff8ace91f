//! A store that keeps what the pipeline asks of one: recording, burying, and whether it could.

use std::sync::Arc;

use treehook_event::{
    Account, AudienceCount, Day, DeadFilter, DeadLetter, Difference, Dimension, Event, EventStore,
    Failure, Hour, HourCount, Key, LinkId, LinkTotal, Maintained, MilestoneRow, Minute,
    MinuteCount, ProfileId, ProfileSummary, Recorded, Sketch, Statement, Tally, Timestamp,
};

use crate::operation::Hand;
use crate::weather::Target;
use crate::world::Flaw;

/// The store of a worker.
pub(crate) struct SimStore(pub(crate) Hand);

/// What only reports ask.
fn not_asked<T>() -> Result<T, Failure> {
    Err(Failure::fatal("not_modelled", "nothing in the pipeline asks this"))
}

impl EventStore for SimStore {
    async fn record(&self, events: &[Event], _now: Timestamp) -> Result<Recorded, Failure> {
        let batch: Arc<[Event]> = events.into();
        let flaw = self.0.sim.world().flaw;
        if flaw == Flaw::CommitsKeysFirst {
            let keys = Arc::clone(&batch);
            let committed = self.0.attempt(Target::Database, "commit keys", move |world| {
                let known = |event: &Event| world.entries[number(event)].is_archived;
                let fresh: Vec<Event> = keys.iter().filter(|e| !known(e)).cloned().collect();
                world.commit_keys(&keys);
                Ok(fresh)
            });
            let fresh = committed.await?;
            let counted = self.0.attempt(Target::Database, "count", move |world| {
                for event in &fresh {
                    world.entries[number(event)].counted += 1;
                }
                Ok(Recorded::default())
            });
            return counted.await;
        }
        let recorded =
            self.0.attempt(Target::Database, "record", move |world| world.record(&batch));
        match recorded.await {
            Err(Failure::Transient(cause)) if flaw == Flaw::BuriesTheTransient => {
                Err(Failure::Poison(cause))
            }
            outcome => outcome,
        }
    }

    async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        let letters = letters.to_vec();
        let buried = self.0.attempt(Target::Database, "bury", move |world| {
            world.bury(&letters);
            Ok(())
        });
        buried.await
    }

    async fn state(&self, _: &[Statement], _: Timestamp) -> Result<(), Failure> {
        not_asked()
    }

    async fn ledger(&self) -> Result<Vec<Account>, Failure> {
        not_asked()
    }

    async fn ping(&self) -> Result<(), Failure> {
        self.0.attempt(Target::Database, "ping", |_| Ok(())).await
    }

    async fn maintain(&self, _: Timestamp, _: u32) -> Result<Maintained, Failure> {
        not_asked()
    }

    async fn dead_letters(&self, _: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        not_asked()
    }

    async fn remove_dead_letters(&self, _: &[(Key, u32)]) -> Result<u64, Failure> {
        not_asked()
    }

    async fn release_dead_letters(&self, _: &[(Key, u32)], _: Timestamp) -> Result<u64, Failure> {
        not_asked()
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        not_asked()
    }

    async fn profiles(
        &self,
        _: Option<&ProfileId>,
        _: u32,
    ) -> Result<Vec<ProfileSummary>, Failure> {
        not_asked()
    }

    async fn profile(&self, _: &ProfileId) -> Result<Option<ProfileSummary>, Failure> {
        not_asked()
    }

    async fn hours(&self, _: &ProfileId, _: Hour, _: Hour) -> Result<Vec<HourCount>, Failure> {
        not_asked()
    }

    async fn minutes(
        &self,
        _: &ProfileId,
        _: Minute,
        _: Minute,
    ) -> Result<Vec<MinuteCount>, Failure> {
        not_asked()
    }

    async fn link_totals(
        &self,
        _: &ProfileId,
        _: Hour,
        _: Hour,
    ) -> Result<Vec<LinkTotal>, Failure> {
        not_asked()
    }

    async fn profile_visitors(&self, _: &ProfileId, _: Day, _: Day) -> Result<Sketch, Failure> {
        not_asked()
    }

    async fn link_visitors(
        &self,
        _: &ProfileId,
        _: Day,
        _: Day,
    ) -> Result<Vec<(LinkId, Sketch)>, Failure> {
        not_asked()
    }

    async fn link_hours(
        &self,
        _: &ProfileId,
        _: &LinkId,
        _: Hour,
        _: Hour,
    ) -> Result<Vec<(Hour, u64)>, Failure> {
        not_asked()
    }

    async fn audience_days(
        &self,
        _: &ProfileId,
        _: (Dimension, &str),
        _: Day,
        _: Day,
    ) -> Result<Vec<(Day, u64)>, Failure> {
        not_asked()
    }

    async fn audience(&self, _: &ProfileId, _: Day, _: Day) -> Result<Vec<AudienceCount>, Failure> {
        not_asked()
    }

    async fn milestones(&self, _: &ProfileId, _: u32) -> Result<Vec<MilestoneRow>, Failure> {
        not_asked()
    }

    async fn verify(&self, _: bool) -> Result<Vec<Difference>, Failure> {
        not_asked()
    }
}

fn number(event: &Event) -> usize {
    crate::traffic::number_of(&event.identity)
}
