//! Happenings put into deliveries: in batches, some of them sent twice, some of them forged.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use treehook_event::{Platform, Timestamp};

use crate::chance::scatter;
use crate::expected::Expected;
use crate::plan::{BadPlan, TrafficPlan};
use crate::story::{Happening, Story};
use crate::{dub, linktree};

/// How many deliveries later a repeat comes at the latest. It bounds how many wait, too.
const REPEAT_WITHIN: u64 = 200;
/// Room for an envelope; most take 300 to 450 bytes.
const ENVELOPE_BYTES: usize = 480;

/// One HTTP request's worth of envelopes, not yet signed: that is done whenever it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message id, for schemes that sign one. Stays the same when it is sent again.
    pub id: String,
    /// The envelope, or an array of them.
    pub body: Bytes,
    /// How many envelopes it holds.
    pub events: u32,
    /// What a receiver ought to make of it.
    pub kind: DeliveryKind,
}

/// What a receiver ought to make of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryKind {
    /// Accept it and count it.
    Fresh,
    /// Accept it and count nothing: it has been delivered before.
    Repeat,
    /// Refuse it: it is to be signed with a wrong key.
    Forged,
}

/// Makes deliveries, the same ones for the same plan from the same moment.
#[derive(Debug)]
pub struct Traffic {
    plan: TrafficPlan,
    story: Story,
    rng: StdRng,
    /// What will be sent again, by the draw at which it is due.
    repeats: BTreeMap<(u64, u64), Delivery>,
    drawn: u64,
    fresh: u64,
    forged: u64,
    expected: Option<Expected>,
}

impl Traffic {
    /// Traffic whose days end at `started`.
    pub fn new(plan: TrafficPlan, started: Timestamp) -> Result<Self, BadPlan> {
        plan.check()?;
        Ok(Self {
            story: Story::new(&plan, started),
            // Not the story's own choices: a share of repeats changes no event.
            rng: StdRng::seed_from_u64(scatter(plan.seed)),
            plan,
            repeats: BTreeMap::new(),
            drawn: 0,
            fresh: 0,
            forged: 0,
            expected: None,
        })
    }

    /// Keeps count of what a receiver must count.
    pub fn with_expected(mut self) -> Self {
        self.expected = Some(Expected::default());
        self
    }

    /// What a receiver must count of the deliveries made so far, if that was asked for.
    pub fn expected(&self) -> Option<&Expected> {
        self.expected.as_ref()
    }

    /// The next delivery; `None` when the plan is carried out. `now` is the event time if the plan
    /// spreads nothing over days, and does not matter otherwise.
    pub fn next_delivery(&mut self, now: Timestamp) -> Option<Delivery> {
        self.drawn += 1;
        if let Some(due) = self.repeats.first_entry()
            && due.key().0 <= self.drawn
        {
            return Some(due.remove());
        }
        if self.story.is_over() {
            return self.repeats.pop_first().map(|(_, delivery)| delivery);
        }
        if self.rng.random_bool(self.plan.bad_signatures) {
            return Some(self.forged(now));
        }
        let delivery = self.fresh(now);
        if self.rng.random_bool(self.plan.duplicates) {
            let due = self.drawn + self.rng.random_range(1..=REPEAT_WITHIN);
            let repeat = Delivery { kind: DeliveryKind::Repeat, ..delivery.clone() };
            self.repeats.insert((due, self.drawn), repeat);
        }
        Some(delivery)
    }

    fn fresh(&mut self, now: Timestamp) -> Delivery {
        let mut body = Body::new(self.plan.batch);
        while body.events < self.plan.batch
            && let Some(happening) = self.story.next(now)
        {
            let id = format!("evt_{:x}_{:x}", self.plan.seed, happening.number);
            body.push(self.plan.platform, &id, &happening, &self.story);
            if let Some(expected) = &mut self.expected {
                expected.add(&happening, &self.story.creators[happening.creator]);
            }
        }
        let id = format!("msg_{:x}_{:x}", self.plan.seed, self.fresh);
        self.fresh += 1;
        body.finish(id, DeliveryKind::Fresh)
    }

    fn forged(&mut self, now: Timestamp) -> Delivery {
        let mut body = Body::new(self.plan.batch);
        while body.events < self.plan.batch {
            let happening = self.story.stray(now);
            let id = format!("evt_{:x}_forged_{:x}", self.plan.seed, happening.number);
            body.push(self.plan.platform, &id, &happening, &self.story);
        }
        let id = format!("msg_{:x}_forged_{:x}", self.plan.seed, self.forged);
        self.forged += 1;
        body.finish(id, DeliveryKind::Forged)
    }
}

/// A body in the making.
struct Body {
    bytes: Vec<u8>,
    events: usize,
    is_array: bool,
}

impl Body {
    fn new(batch: usize) -> Self {
        Self { bytes: Vec::with_capacity(batch * ENVELOPE_BYTES), events: 0, is_array: batch > 1 }
    }

    fn push(&mut self, platform: Platform, id: &str, happening: &Happening, story: &Story) {
        if self.is_array {
            self.bytes.push(if self.events == 0 { b'[' } else { b',' });
        }
        self.events += 1;
        let creator = &story.creators[happening.creator];
        match platform {
            Platform::Linktree => linktree::render(&mut self.bytes, Some(id), happening, creator),
            Platform::Standard => linktree::render(&mut self.bytes, None, happening, creator),
            Platform::Dub => dub::render(&mut self.bytes, id, happening, creator),
        }
    }

    fn finish(mut self, id: String, kind: DeliveryKind) -> Delivery {
        if self.is_array {
            self.bytes.push(b']');
        }
        let events = u32::try_from(self.events).expect("a batch holds at most 1,000");
        Delivery { id, body: self.bytes.into(), events, kind }
    }
}
