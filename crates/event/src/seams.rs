//! The seams that events move through. Each has two implementations, and one conformance suite runs
//! against both.

use std::any::Any;
use std::future::Future;
use std::time::Duration;

use crate::account::Account;
use crate::deadletter::{DeadFilter, DeadLetter};
use crate::event::{Event, Key};
use crate::failure::Failure;
use crate::ledger::Statement;
use crate::moment::{Day, Hour, Minute, Timestamp};
use crate::names::{EventType, Identity, LinkId, ProfileId, SourceName};
use crate::packet::Packet;
use crate::privacy::VisitorId;
use crate::report::{AudienceCount, HourCount, LinkTotal, MilestoneRow, ProfileSummary};
use crate::rollup::{Dimension, MinuteCount};
use crate::sketch::Sketch;

/// Where a publisher put events. Either is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// In the queue that workers drain: what every single backend answers.
    Queued,
    /// In the outbox, since the broker is unwell: what the policy over two backends answers.
    Spooled,
}

/// What travels: an event, or a [`Packet`] of them.
pub trait Carried: Send {
    /// How many events that is.
    fn events(&self) -> usize;
}

impl Carried for Event {
    fn events(&self) -> usize {
        1
    }
}

impl Carried for Packet {
    fn events(&self) -> usize {
        self.events
    }
}

/// Where events go: each by itself, or in [`Packet`]s that nobody opens on the way.
pub trait Publisher<T = Event>: Send + Sync {
    /// `Ok` is a promise: every event is durable on the other side. On `Err` some may be; publishing
    /// again is safe, since events are deduplicated where they are counted.
    fn publish(&self, events: &[T]) -> impl Future<Output = Result<Accepted, Failure>> + Send;

    /// From how many publishes at once on more would only wait for each other, and be all the smaller.
    fn at_once(&self) -> usize {
        usize::MAX
    }
}

/// Where a receiver leaves what it takes in.
pub trait Intake: Send + Sync {
    /// As [`Publisher::publish`], of events that are given away. Whoever stops waiting for the answer takes
    /// nothing back; `hold`, such as the sender's place, is dropped once the events are, either way.
    fn take_in(
        &self,
        events: Vec<Event>,
        hold: Box<dyn Any + Send>,
    ) -> impl Future<Output = Result<Accepted, Failure>> + Send;
}

/// Where events come from, at least once.
pub trait Consumer<T = Event>: Send {
    /// What settles a delivery. Taken by value: nothing is settled twice.
    type Receipt: Send;

    /// Up to about `limit` events, at least one delivery if there is any within `wait`. A batch
    /// that cannot be decoded arrives as [`Event::unreadable`].
    fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt, T>>, Failure>> + Send;

    /// The deliveries are dealt with, and will not come again; but for a consumer that is dropped before
    /// it is released, whose last word may be lost with its connection.
    fn settle(
        &mut self,
        receipts: Vec<Self::Receipt>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Hands everything unsettled back, and takes nothing until the next `receive`: for an outage
    /// that lasts longer than a queue lets a delivery be held.
    fn release(&mut self) -> impl Future<Output = ()> + Send;
}

/// One handing-over by a queue: 1 to n events that are settled together.
#[derive(Debug)]
pub struct Delivery<R, T = Event> {
    /// What settles it.
    pub receipt: R,
    /// The events, in the order in which they were published.
    pub events: Vec<T>,
    /// Whether too many have died of it for the queue to believe in another try: it is to be set aside,
    /// unopened. Of queues that do not bury such deliveries themselves.
    pub is_given_up: bool,
}

/// What is done with events that were received. Safe to repeat.
pub trait Handler<T = Event>: Send + Sync {
    /// Deals with all of them, or fails: `Poison` when it is the fault of at least one of them.
    fn handle(&self, events: &[T]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Sets one event aside, durably, for the reason that `handle` gave.
    fn bury(&self, event: &T, reason: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether `handle` could work now; asked while nothing is in hand.
    fn ready(&self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What recording a batch came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Positions in the batch of the events that count from now on.
    pub fresh: Vec<usize>,
    /// How many had been recorded before, or stood in the batch more than once.
    pub duplicates: u64,
}

/// What the pipeline has done to this store, over all processes and time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Events that count.
    pub applied: u64,
    /// Events that had been recorded before.
    pub duplicates: u64,
    /// Dead letters that wait for a decision.
    pub dead: u64,
    /// The latest event time that was applied.
    pub newest_event: Option<Timestamp>,
}

/// What a round of upkeep came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Days of the archive that are past retention and gone.
    pub days_dropped: u64,
}

/// Where the archive and a rollup tell different numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which rollup: `link_hours`, `link_days`, `profile_hours`, `audience`,
    /// `link_visitors`, `profile_visitors`, `links` or `profiles`.
    pub rollup: &'static str,
    /// Its key, for people.
    pub key: String,
    /// What the archive of applied events says.
    pub archive: String,
    /// What the rollup says.
    pub stored: String,
}

/// One change in the life of a link or a profile, as the archive tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// When, by the event's own time.
    pub at: Timestamp,
    /// The event's key: with `at` it is the place in the list.
    pub key: Key,
    /// Who told.
    pub source: SourceName,
    /// The event's identity.
    pub identity: Identity,
    /// As `link.updated` or `profile.updated`.
    pub event_type: EventType,
    /// Which link; none for the profile itself.
    pub link_id: Option<LinkId>,
    /// What the event said: the archived `Body`, as JSON text.
    pub detail: String,
}

/// What was forgotten of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Archived events that no longer tell of the person.
    pub events: u64,
    /// Days of visitor sketches that were rebuilt without the person, or dropped with the profile.
    pub sketches: u64,
    /// Days of visitor sketches, older than the archive, that may still count the visitor among
    /// others: a sketch cannot forget one of its visitors, and nothing is left to rebuild it from.
    pub sketches_kept: u64,
    /// Dead letters that told of the person and are gone.
    pub dead_letters: u64,
}

/// What is kept about one profile or one visitor: telling it, and forgetting it.
pub trait Subjects: Send + Sync {
    /// Link and profile changes of a profile from the archive, latest first, after `after`.
    fn history(
        &self,
        profile: &ProfileId,
        after: Option<(Timestamp, Key)>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<HistoryRow>, Failure>> + Send;

    /// Forgets a visitor: their pseudonym leaves the archive and the dead letters, and every sketch
    /// that the archive can rebuild is rebuilt without it. Clicks and views stay counted. Still true
    /// after `verify --repair`.
    fn erase_visitor(
        &self,
        visitor: VisitorId,
    ) -> impl Future<Output = Result<Erased, Failure>> + Send;

    /// Forgets a profile: its rollups, projections, milestones and dead letters go, and its archived
    /// events keep only what deduplication needs (key, day, source, type), so that a retried
    /// delivery does not bring it back. Still true after `verify --repair`.
    fn erase_profile(
        &self,
        profile: &ProfileId,
    ) -> impl Future<Output = Result<Erased, Failure>> + Send;
}

/// Where events are counted: archive, dedupe, rollups, projections, dead letters, and the queries
/// that reports are made of.
pub trait EventStore: Send + Sync {
    /// Archives and counts, in one transaction. Recording twice counts once.
    fn record(
        &self,
        events: &[Event],
        now: Timestamp,
    ) -> impl Future<Output = Result<Recorded, Failure>> + Send;

    /// Adds to the rollups what [`record`](Self::record) has left to be added later, if this store works
    /// so, some of it has waited for so long, and nobody else is at it. Every question below sees what was
    /// recorded before it, whether or not anybody calls this.
    fn catch_up(&self, _waited: Duration) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// Takes in what receivers state of their promises; an older statement changes nothing.
    fn state(
        &self,
        statements: &[Statement],
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The ledger, in order: what was promised against what [`record`](Self::record) and
    /// [`bury`](Self::bury) have settled. Counts up what is complete, so that it stays small.
    fn ledger(&self) -> impl Future<Output = Result<Vec<Account>, Failure>> + Send;

    /// Keeps dead letters. The same event again raises its attempts.
    fn bury(&self, letters: &[DeadLetter]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether the database answers.
    fn ping(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether a batch could be committed now: a database that answers may still be read-only or
    /// out of room. Proves it with a write that changes nothing.
    fn ready(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        self.ping()
    }

    /// Makes room ahead of need and forgets what is past `retention_days`, in small steps.
    fn maintain(
        &self,
        now: Timestamp,
        retention_days: u32,
    ) -> impl Future<Output = Result<Maintained, Failure>> + Send;

    /// Dead letters in order of key.
    fn dead_letters(
        &self,
        filter: &DeadFilter,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, Failure>> + Send;

    /// Removes these dead letters, each only if its `attempts` is still this many; says how many
    /// were removed. One that was buried again since it was read is not what was dealt with.
    fn remove_dead_letters(
        &self,
        letters: &[(Key, u32)],
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// As [`EventStore::remove_dead_letters`], of letters whose events were published again: one that
    /// is buried once more continues from the attempts and the first time that it had.
    fn release_dead_letters(
        &self,
        letters: &[(Key, u32)],
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// What the pipeline has done.
    fn tally(&self) -> impl Future<Output = Result<Tally, Failure>> + Send;

    /// Profiles in order of id, after `after`.
    fn profiles(
        &self,
        after: Option<&ProfileId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ProfileSummary>, Failure>> + Send;

    /// One profile, if any event has named it.
    fn profile(
        &self,
        profile: &ProfileId,
    ) -> impl Future<Output = Result<Option<ProfileSummary>, Failure>> + Send;

    /// Views and clicks by hour in `from..to`, in order; hours without any are left out.
    fn hours(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> impl Future<Output = Result<Vec<HourCount>, Failure>> + Send;

    /// Views and clicks by minute in `from..to`, in order; minutes without any are left out, and those
    /// older than [`LIVE_MINUTES`](crate::LIVE_MINUTES) are forgotten.
    fn minutes(
        &self,
        profile: &ProfileId,
        from: Minute,
        to: Minute,
    ) -> impl Future<Output = Result<Vec<MinuteCount>, Failure>> + Send;

    /// Every link of the profile that is known or was clicked in `from..to`, with its clicks there.
    fn link_totals(
        &self,
        profile: &ProfileId,
        from: Hour,
        to: Hour,
    ) -> impl Future<Output = Result<Vec<LinkTotal>, Failure>> + Send;

    /// One link's clicks by hour in `from..to`, in order; hours without any are left out.
    fn link_hours(
        &self,
        profile: &ProfileId,
        link: &LinkId,
        from: Hour,
        to: Hour,
    ) -> impl Future<Output = Result<Vec<(Hour, u64)>, Failure>> + Send;

    /// Clicks of one value of a dimension by day in `from..to`, in order; days without any are left
    /// out.
    fn audience_days(
        &self,
        profile: &ProfileId,
        slice: (Dimension, &str),
        from: Day,
        to: Day,
    ) -> impl Future<Output = Result<Vec<(Day, u64)>, Failure>> + Send;

    /// The profile's visitors over the days `from..to`.
    fn profile_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> impl Future<Output = Result<Sketch, Failure>> + Send;

    /// Each link's visitors over the days `from..to`.
    fn link_visitors(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> impl Future<Output = Result<Vec<(LinkId, Sketch)>, Failure>> + Send;

    /// Clicks by country, referrer and device over the days `from..to`.
    fn audience(
        &self,
        profile: &ProfileId,
        from: Day,
        to: Day,
    ) -> impl Future<Output = Result<Vec<AudienceCount>, Failure>> + Send;

    /// Milestones of the profile, latest first.
    fn milestones(
        &self,
        profile: &ProfileId,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<MilestoneRow>, Failure>> + Send;

    /// Recounts the archive against every rollup, over the days that the archive still holds whole;
    /// with `repair`, rebuilds what differs.
    fn verify(&self, repair: bool)
    -> impl Future<Output = Result<Vec<Difference>, Failure>> + Send;
}
