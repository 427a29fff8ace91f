//! A policy over the embedded worker's handler: a burst at the front door goes first, where counting could not keep up
//! with it anyway or would hold it up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use treehook_event::{Event, Failure, Handler};

/// Where more than so many events come in in the time that two are handled in there is a burst. Of traffic that can be
/// kept up with come two at most, give or take what one batch has more of it than another.
const CAME_FOR_TWO: u128 = 3;
/// Where more than so many come in while nothing is handled, in the time in which five do beside it, there is a burst as
/// well: whoever sends waits for answers, and counting holds them up. Of traffic that does not wait come six at most.
const CAME_FOR_FIVE: u128 = 7;
/// A rate over less says nothing of the other.
const LOOKED_FOR: Duration = Duration::from_millis(20);
/// Longer than any rest: nothing came for most of it, and as a rate it would hide a burst after it.
const QUIET: Duration = Duration::from_secs(2);
/// The rest before each batch of a burst, in times of what the one before took.
const REST: u32 = 9;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often somebody looks meanwhile whether the burst is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Handles events as they come, as fast as it can. While more come in than it can handle whatever it does, or far fewer come
/// in beside it than without it, it rests before each batch, and leaves the cores to whoever takes them in: they are safe in
/// the queue, and deliveries that are not answered in time are not. For how long that may go on is for others to say.
#[derive(Debug)]
pub struct BurstFirst<H> {
    inner: H,
    /// Events that were accepted so far.
    accepted: Arc<AtomicU64>,
    /// Events that were handled so far.
    handled: AtomicU64,
    pace: Mutex<Pace>,
}

/// So many events in so much time: of each batch half as many as of the next.
#[derive(Debug, Default)]
struct Rate {
    events: u64,
    time: Duration,
}

impl Rate {
    fn add(&mut self, events: u64, time: Duration) {
        self.events += events;
        self.time += time;
    }

    fn age(&mut self) {
        self.events /= 2;
        self.time /= 2;
    }

    /// Whether it is more than `most` for each `of` of the other.
    fn exceeds(&self, most: u128, of: u128, other: &Self) -> bool {
        let (ours, theirs) = (u128::from(self.events), u128::from(other.events));
        ours * other.time.as_micros() * of > theirs * self.time.as_micros() * most
    }
}

/// How counting goes, beside what comes in.
#[derive(Debug, Default)]
struct Pace {
    /// What came in while nothing was being handled.
    undisturbed: Rate,
    /// What came in beside that.
    beside: Rate,
    /// What was handled, while batches were.
    handled: Rate,
    /// How long the last batch took.
    took: Duration,
    /// Batches that are being handled.
    at_work: usize,
    /// When somebody looked last how many had come, and how many those were.
    looked: Option<(Instant, u64)>,
}

impl Pace {
    fn look(&mut self, accepted: u64) {
        let now = Instant::now();
        if let Some((then, before)) = self.looked.replace((now, accepted))
            && now - then < QUIET
        {
            let came = if self.at_work == 0 { &mut self.undisturbed } else { &mut self.beside };
            came.add(accepted.saturating_sub(before), now - then);
        }
    }

    fn handled(&mut self, events: u64, took: Duration) {
        for rate in [&mut self.undisturbed, &mut self.beside, &mut self.handled] {
            rate.age();
        }
        self.handled.add(events, took);
        self.took = took;
    }

    /// How long to rest before the next batch.
    fn rest(&self) -> Duration {
        let Self { undisturbed, beside, handled, .. } = self;
        let falls_behind =
            [undisturbed, beside].iter().any(|came| came.exceeds(CAME_FOR_TWO, 2, handled));
        let holds_up = undisturbed.time.min(beside.time) >= LOOKED_FOR
            && undisturbed.exceeds(CAME_FOR_FIVE, 5, beside);
        if falls_behind || holds_up { (self.took * REST).min(REST_MAX) } else { Duration::ZERO }
    }
}

/// A batch that is being handled.
struct AtWork<'a, H>(&'a BurstFirst<H>);

impl<H> Drop for AtWork<'_, H> {
    fn drop(&mut self) {
        self.0.pace().at_work -= 1;
    }
}

impl<H> BurstFirst<H> {
    /// Rests while `accepted`, in events, grows faster than they are handled, or faster without that than beside it.
    pub fn new(inner: H, accepted: Arc<AtomicU64>) -> Self {
        Self { inner, accepted, handled: AtomicU64::new(0), pace: Mutex::default() }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // Numbers are never half written.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> AtWork<'_, H> {
        let mut pace = self.pace();
        pace.look(self.accepted.load(Ordering::Relaxed));
        pace.at_work += 1;
        AtWork(self)
    }

    fn note(&self, handled: u64, took: Duration) {
        let mut pace = self.pace();
        pace.handled(handled, took);
        pace.look(self.accepted.load(Ordering::Relaxed));
    }

    async fn rest(&self) {
        let (mut before, rest) = {
            let mut pace = self.pace();
            let accepted = self.accepted.load(Ordering::Relaxed);
            pace.look(accepted);
            (accepted, pace.rest())
        };
        let until = Instant::now() + rest;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK_EVERY)).await;
            let now = self.accepted.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }
}

impl<H: Handler> Handler for BurstFirst<H> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.rest().await;
        let (started, handled_before) = (Instant::now(), self.handled.load(Ordering::Relaxed));
        let _at_work = self.begin();
        if let Err(failure) = self.inner.handle(events).await {
            // It says nothing of the pace.
            self.pace().looked = None;
            return Err(failure);
        }
        let these = events.len() as u64;
        // Others have handled theirs beside it.
        let handled = self.handled.fetch_add(these, Ordering::Relaxed) + these;
        self.note(handled - handled_before, started.elapsed());
        Ok(())
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.inner.bury(event, reason).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await
    }
}
