//! What outlives every process: queues, the archive and its counts, dead letters, announcements.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use treehook_event::{
    Counting, DeadLetter, Event, Failure, Recorded, Settled, Statement, settled, settled_dead,
};

use crate::queue::SimQueue;
use crate::traffic::{EVENTS_MAX, Fault, Traffic, number_of};
use crate::weather::Weather;

/// A defect that a run is given, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The store counts what it has in its archive already.
    CountsDuplicates,
    /// The store commits identities before counts.
    CommitsKeysFirst,
    /// Deliveries are settled as soon as they are received.
    SettlesFirst,
    /// The outbox says yes before anything is on the disk.
    AnswersAtOnce,
    /// The outbox forgets that its rows were dealt with.
    NeverSettles,
    /// The store takes an outage for a fault of the event.
    BuriesTheTransient,
}

/// Where messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Broker,
    Outbox,
    /// Announcements that the broker did not take.
    Backlog,
}

/// What the store holds of an event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) is_archived: bool,
    pub(crate) counted: u32,
    pub(crate) buried: u32,
}

/// What is known of an event outside the store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Story {
    pub(crate) was_sent: bool,
    pub(crate) was_promised: bool,
    pub(crate) announced: u32,
}

/// An effect whose caller no longer waits for it.
pub(crate) type Effect = Box<dyn FnOnce(&mut World) + Send>;

/// What the processes share.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) weather: Weather,
    pub(crate) traffic: Traffic,
    pub(crate) flaw: Flaw,
    pub(crate) steps: u32,
    pub(crate) queues: [SimQueue; 3],
    pub(crate) entries: [Entry; EVENTS_MAX],
    pub(crate) stories: [Story; EVENTS_MAX],
    /// What the receiver's journal keeps: nobody is told, so it keeps every counting.
    pub(crate) journal: Vec<Statement>,
    /// The ledger's other half.
    pub(crate) settled: BTreeMap<Counting, Settled>,
    /// Operations under way.
    pub(crate) busy: u32,
    late: Vec<Effect>,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, flaw: Flaw, traced: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            weather: Weather::of(&mut rng),
            traffic: Traffic::of(&mut rng),
            rng,
            flaw,
            steps: 0,
            queues: Default::default(),
            entries: Default::default(),
            stories: Default::default(),
            journal: Vec::new(),
            settled: BTreeMap::new(),
            busy: 0,
            late: Vec::new(),
            trace: traced.then(Vec::new),
        }
    }

    /// Notes what happened, if anybody will read it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:4} {}", self.steps, line()));
        }
    }

    /// Something else happens meanwhile: a session is lost, an effect comes late.
    pub(crate) fn meanwhile(&mut self) {
        self.steps += 1;
        if !self.late.is_empty() && self.rng.random_bool(0.2) {
            let which = self.rng.random_range(0..self.late.len());
            let effect = self.late.swap_remove(which);
            self.note(|| "late effect".into());
            effect(self);
        }
        if !self.weather.is_over && self.rng.random_bool(self.weather.lost_sessions) {
            let (queue, rng) = (&mut self.queues[Place::Broker as usize], &mut self.rng);
            if let Some(session) = queue.any_session(rng) {
                queue.close_session(session, rng);
                self.note(|| format!("consumer {session} loses its session"));
            }
        }
    }

    pub(crate) fn will_happen(&mut self, effect: Effect) {
        self.late.push(effect);
    }

    /// Whether the broker takes these events.
    pub(crate) fn broker_takes(&self, events: &[Event]) -> Result<(), Failure> {
        let refused = |event: &Event| {
            // What is set aside by the relay goes as an event that does not fit, and is taken.
            !matches!(event.body, treehook_event::Body::Unfit { .. })
                && self.fault_of(event) == Fault::RefusedByBroker
        };
        if events.iter().any(refused) {
            return Err(Failure::poison("invalid_data", "the broker refuses one of them"));
        }
        Ok(())
    }

    fn fault_of(&self, event: &Event) -> Fault {
        self.traffic.faults[number_of(&event.identity)]
    }

    /// One transaction of the store: all of it, or nothing.
    pub(crate) fn record(&mut self, events: &[Event]) -> Result<Recorded, Failure> {
        if events.iter().any(|event| self.fault_of(event) == Fault::RefusedByDatabase) {
            return Err(Failure::poison("constraint", "the database refuses one of them"));
        }
        let mut recorded = Recorded::default();
        for (position, event) in events.iter().enumerate() {
            let number = number_of(&event.identity);
            let entry = &mut self.entries[number];
            let is_fresh = !entry.is_archived;
            entry.is_archived = true;
            if is_fresh || self.flaw == Flaw::CountsDuplicates {
                entry.counted += 1;
                recorded.fresh.push(position);
                self.note(|| format!("counted {number}"));
            } else {
                recorded.duplicates += 1;
                self.note(|| format!("duplicate {number}"));
            }
        }
        self.settle(settled(events, &recorded.fresh));
        Ok(recorded)
    }

    fn settle(&mut self, settled: BTreeMap<Counting, Settled>) {
        for (counting, numbers) in settled {
            self.settled.entry(counting).or_default().absorb(&numbers);
        }
    }

    /// What a store does that commits identities before counts and then loses its connection.
    pub(crate) fn commit_keys(&mut self, events: &[Event]) {
        for event in events {
            self.entries[number_of(&event.identity)].is_archived = true;
        }
    }

    pub(crate) fn bury(&mut self, letters: &[DeadLetter]) {
        for letter in letters {
            let number = number_of(&letter.identity);
            self.entries[number].buried += 1;
            self.note(|| format!("buried {number} for {}", letter.reason));
        }
        self.settle(settled_dead(letters));
    }

    pub(crate) fn announce(&mut self, events: &[Event]) {
        for event in events {
            let number = number_of(&event.identity);
            self.stories[number].announced += 1;
            self.note(|| format!("announced {number}"));
        }
    }

    /// The last fault is over: everything works, and what was under way arrives.
    pub(crate) fn heal(&mut self) {
        self.note(|| "every fault is over".into());
        self.weather.is_over = true;
        for effect in std::mem::take(&mut self.late) {
            effect(self);
        }
    }

    /// Nothing waits anywhere, and nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.busy == 0 && self.late.is_empty() && self.queues.iter().all(|queue| queue.depth() == 0)
    }
}
