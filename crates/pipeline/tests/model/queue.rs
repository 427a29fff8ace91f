//! Queues as brokers and files keep them: what is not settled comes again when its session ends.

use std::collections::VecDeque;

use rand::RngExt as _;
use rand::rngs::StdRng;
use treehook_event::Event;

/// One batch, as it was published.
#[derive(Debug)]
struct Message {
    events: Vec<Event>,
}

/// What a session holds and has not settled.
#[derive(Debug)]
struct Held {
    session: u32,
    tag: u32,
    message: Message,
}

/// A durable queue. Order is not kept: messages that come again come anywhere.
#[derive(Debug, Default)]
pub(crate) struct SimQueue {
    ready: VecDeque<Message>,
    held: Vec<Held>,
    open: Vec<u32>,
    last_session: u32,
    last_tag: u32,
}

impl SimQueue {
    pub(crate) fn publish(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.ready.push_back(Message { events });
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn open_session(&mut self) -> u32 {
        self.last_session += 1;
        self.open.push(self.last_session);
        self.last_session
    }

    pub(crate) fn is_open(&self, session: u32) -> bool {
        self.open.contains(&session)
    }

    /// Hands out up to about `limit` events to a session that is still open.
    pub(crate) fn take(
        &mut self,
        session: u32,
        limit: usize,
        rng: &mut StdRng,
    ) -> Vec<(u32, Vec<Event>)> {
        let mut taken = Vec::new();
        let mut events = 0;
        while self.is_open(session) && events < limit {
            let Some(message) = self.ready.pop_front() else { break };
            events += message.events.len();
            self.last_tag += 1;
            taken.push((self.last_tag, message.events.clone()));
            self.held.push(Held { session, tag: self.last_tag, message });
            if rng.random_bool(0.3) {
                // Less than there is: consumers come one after the other.
                break;
            }
        }
        taken
    }

    /// Forgets what was dealt with; `false` if the session has ended meanwhile.
    pub(crate) fn settle(&mut self, session: u32, tags: &[u32]) -> bool {
        if !self.is_open(session) {
            return false;
        }
        self.held.retain(|held| !tags.contains(&held.tag));
        true
    }

    /// Ends a session: what it holds comes again.
    pub(crate) fn close_session(&mut self, session: u32, rng: &mut StdRng) {
        self.open.retain(|open| *open != session);
        let (back, kept) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.session == session);
        self.held = kept;
        let back: Vec<Held> = back;
        for held in back {
            let place = rng.random_range(0..=self.ready.len());
            self.ready.insert(place, held.message);
        }
    }

    /// Any session that is open.
    pub(crate) fn any_session(&self, rng: &mut StdRng) -> Option<u32> {
        let count = self.open.len();
        (count > 0).then(|| self.open[rng.random_range(0..count)])
    }

    /// Messages that wait or are held.
    pub(crate) fn depth(&self) -> usize {
        self.ready.len() + self.held.len()
    }
}
