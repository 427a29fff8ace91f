//! A policy over the embedded worker's handler: a burst at the front door goes first, while counting could not keep up
//! with it anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use treehook_event::{Event, Failure, Handler};

/// Where more than so many events come in in the time that two are handled in there is a burst. Of traffic that can be
/// kept up with come two at most, give or take what one batch has more of it than another.
const CAME_FOR_TWO: u128 = 3;
/// The rest before each batch of a burst, in times of what the one before took.
const REST: u32 = 9;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often somebody looks meanwhile whether the burst is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Handles events as they come, as fast as it can. While so many more come in than it handles that it falls behind
/// whatever it does, it rests before each batch, and leaves the cores to whoever takes them in: they are safe in the
/// queue, and deliveries that are not answered in time are not. For how long that may go on is for others to say.
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
    fn note(&mut self, events: u64, time: Duration) {
        self.events = self.events / 2 + events;
        self.time = self.time / 2 + time;
    }

    /// Two rates are to each other as this of one and of the other.
    fn beside(&self, other: &Self) -> u128 {
        u128::from(self.events) * other.time.as_micros()
    }
}

/// How counting goes, beside what comes in.
#[derive(Debug, Default)]
struct Pace {
    /// What came in, while batches were handled and in the rests before them: it is held up by whoever counts.
    came: Rate,
    /// What was handled, while batches were.
    handled: Rate,
    /// How long the last batch took.
    took: Duration,
}

impl Pace {
    /// How long to rest before the next batch.
    fn rest(&self) -> Duration {
        let (came, handled) = (self.came.beside(&self.handled), self.handled.beside(&self.came));
        if came * 2 > handled * CAME_FOR_TWO {
            (self.took * REST).min(REST_MAX)
        } else {
            Duration::ZERO
        }
    }
}

impl<H> BurstFirst<H> {
    /// Rests while `accepted`, in events, grows faster than they are handled.
    pub fn new(inner: H, accepted: Arc<AtomicU64>) -> Self {
        Self { inner, accepted, handled: AtomicU64::new(0), pace: Mutex::default() }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // Numbers are never half written.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rest(&self) {
        let until = Instant::now() + self.pace().rest();
        let mut before = self.accepted.load(Ordering::Relaxed);
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
        let (begun, came_before) = (Instant::now(), self.accepted.load(Ordering::Relaxed));
        self.rest().await;
        let (started, handled_before) = (Instant::now(), self.handled.load(Ordering::Relaxed));
        self.inner.handle(events).await?;
        let these = events.len() as u64;
        // Others have handled theirs beside it.
        let handled = self.handled.fetch_add(these, Ordering::Relaxed) + these;
        let came = self.accepted.load(Ordering::Relaxed) - came_before;
        let (took, mut pace) = (started.elapsed(), self.pace());
        pace.came.note(came, begun.elapsed());
        pace.handled.note(handled - handled_before, took);
        pace.took = took;
        Ok(())
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.inner.bury(event, reason).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await
    }
}
