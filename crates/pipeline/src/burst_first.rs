//! A policy over the embedded worker's handler: a burst at the front door goes first, while counting could not keep up
//! with it anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use treehook_event::{Event, Failure, Handler};

/// More than so many events for every two that are handled meanwhile are a burst. Of traffic that can be kept up with
/// come two at most, give or take what one batch has more of it than another.
const CAME_FOR_TWO: u64 = 3;
/// The rest before each batch of a burst, in times of what the one before took.
const REST: u32 = 4;
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

/// How counting goes, beside what comes in.
#[derive(Debug, Default)]
struct Pace {
    /// Events that came in while batches were handled: of each batch half as many as of the next.
    came: u64,
    /// Those that were handled meanwhile, in the same way.
    handled: u64,
    /// How long the last batch took.
    took: Duration,
}

impl Pace {
    fn note(&mut self, came: u64, handled: u64, took: Duration) {
        self.came = self.came / 2 + came;
        self.handled = self.handled / 2 + handled;
        self.took = took;
    }

    /// How long to rest before the next batch.
    fn rest(&self) -> Duration {
        let is_burst = self.came.saturating_mul(2) > self.handled.saturating_mul(CAME_FOR_TWO);
        if is_burst { (self.took * REST).min(REST_MAX) } else { Duration::ZERO }
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
        self.rest().await;
        let (came, handled) = (&self.accepted, &self.handled);
        let before = (came.load(Ordering::Relaxed), handled.load(Ordering::Relaxed));
        let started = Instant::now();
        self.inner.handle(events).await?;
        let these = events.len() as u64;
        // Others have handled theirs beside it.
        let handled = handled.fetch_add(these, Ordering::Relaxed) + these;
        let came = came.load(Ordering::Relaxed) - before.0;
        self.pace().note(came, handled - before.1, started.elapsed());
        Ok(())
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.inner.bury(event, reason).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await
    }
}
