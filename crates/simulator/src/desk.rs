//! Where the connections of a load get their work, and bring back what came of it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use treehook_event::Timestamp;

use crate::classify::Trouble;
use crate::load::Load;
use crate::pace::Pace;
use crate::report::{LoadReport, Progress, Recorder};
use crate::retry::{Attempt, RetryPolicy, Waiting};
use crate::traffic::{Delivery, DeliveryKind, Traffic};

/// How often progress is told: no eye asks for more.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// Hands out deliveries and takes their outcomes.
pub(crate) struct Desk<'a, C> {
    retries: &'a RetryPolicy,
    clock: &'a C,
    stop: &'a CancellationToken,
    progress: &'a watch::Sender<Progress>,
    started: Instant,
    ends: Option<Instant>,
    /// Never contended: all connections run in one task. Held for a microsecond.
    books: Mutex<Books<'a>>,
}

struct Books<'a> {
    traffic: &'a mut Traffic,
    is_over: bool,
    pace: Pace,
    waiting: Waiting,
    recorder: Recorder,
    progress_due: Instant,
}

/// What a connection is to do now.
enum Turn {
    Send(Attempt),
    Wait(Instant),
    GoHome,
}

impl<'a, C: Fn() -> Timestamp> Desk<'a, C> {
    /// Opens the desk: its time starts now.
    pub(crate) fn new(
        load: &'a Load,
        traffic: &'a mut Traffic,
        clock: &'a C,
        stop: &'a CancellationToken,
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        let started = Instant::now();
        let books = Books {
            traffic,
            is_over: false,
            pace: Pace::new(load.rate, started),
            waiting: Waiting::default(),
            recorder: Recorder::new(),
            progress_due: started,
        };
        Self {
            retries: &load.retries,
            clock,
            stop,
            progress,
            started,
            ends: load.duration.and_then(|duration| started.checked_add(duration)),
            books: Mutex::new(books),
        }
    }

    /// The next delivery to send, once one is due; `None` when there will be none.
    pub(crate) async fn next(&self) -> Option<Attempt> {
        loop {
            let now = Instant::now();
            if self.stop.is_cancelled() || self.ends.is_some_and(|ends| ends <= now) {
                return None;
            }
            let turn = self.books().turn(now, self.clock);
            match turn {
                Turn::Send(attempt) => return Some(attempt),
                Turn::Wait(due) => self.rest_until(due).await,
                Turn::GoHome => return None,
            }
        }
    }

    /// Waits this long, or until the load ends.
    pub(crate) async fn rest(&self, pause: Duration) {
        self.rest_until(Instant::now() + pause).await;
    }

    async fn rest_until(&self, due: Instant) {
        let due = self.ends.map_or(due, |ends| ends.min(due));
        tokio::select! {
            () = self.stop.cancelled() => (),
            () = sleep_until(due) => (),
        }
    }

    /// Takes note of an outcome, and puts the delivery aside for another attempt if it needs one.
    pub(crate) fn settle(&self, attempt: Attempt, outcome: Result<StatusCode, Trouble>) {
        let now = Instant::now();
        let mut books = self.books();
        if attempt.attempts > 0 {
            books.recorder.retried();
        }
        match outcome {
            Ok(status) => books.recorder.answered(status.as_u16(), now - attempt.due),
            Err(trouble) => books.recorder.failed(trouble),
        }
        if outcome.is_ok_and(|status| status.is_success()) {
            books.recorder.accepted(&attempt.delivery);
        } else {
            self.put_aside(&mut books, attempt.delivery, attempt.attempts + 1, now);
        }
        if now >= books.progress_due {
            books.progress_due = now + PROGRESS_EVERY;
            self.progress.send_replace(books.recorder.progress(now - self.started));
        }
    }

    fn put_aside(&self, books: &mut Books<'_>, delivery: Delivery, attempts: usize, now: Instant) {
        // Nobody insists on a forgery.
        let delay = match delivery.kind {
            DeliveryKind::Fresh | DeliveryKind::Repeat => self.retries.delay(attempts),
            DeliveryKind::Forged => None,
        };
        let refused = match delay {
            Some(delay) => books.waiting.put(now + delay, delivery, attempts),
            None => Err(delivery),
        };
        if let Err(delivery) = refused {
            books.recorder.given_up(delivery);
        }
    }

    /// Closes the desk: what still waits is given up.
    pub(crate) fn finish(self) -> LoadReport {
        let elapsed = self.started.elapsed();
        let Books { mut recorder, waiting, pace, .. } =
            self.books.into_inner().expect("nobody panics while the books are open");
        waiting.into_deliveries().for_each(|delivery| recorder.given_up(delivery));
        self.progress.send_replace(recorder.progress(elapsed));
        recorder.finish(elapsed, pace.missed)
    }

    fn books(&self) -> MutexGuard<'_, Books<'a>> {
        self.books.lock().expect("nobody panics while the books are open")
    }
}

impl Books<'_> {
    /// Retries come first: they are as due as anything, and older.
    fn turn(&mut self, now: Instant, clock: &impl Fn() -> Timestamp) -> Turn {
        if let Some(attempt) = self.waiting.take(now) {
            return Turn::Send(attempt);
        }
        let next_retry = self.waiting.next_due();
        if !self.is_over {
            match self.pace.take(now) {
                Ok(due) => match self.traffic.next_delivery(clock()) {
                    Some(delivery) => return Turn::Send(Attempt { delivery, attempts: 0, due }),
                    None => self.is_over = true,
                },
                Err(due) => return Turn::Wait(next_retry.map_or(due, |retry| retry.min(due))),
            }
        }
        match next_retry {
            Some(due) => Turn::Wait(due),
            // Whoever still has a request on its way looks after its retries alone.
            None => Turn::GoHome,
        }
    }
}
