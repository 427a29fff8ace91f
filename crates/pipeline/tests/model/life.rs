//! The life of a process: it lasts a number of steps, and ends at a step or in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Receiver,
    FirstWorker,
    SecondWorker,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At once, in whatever it was doing.
    Death,
    /// It is told to stop.
    Stop,
}

/// One life of a process. Counters are atomic to satisfy the seams; a run has one thread.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) role: Role,
    pub(crate) stop: CancellationToken,
    steps_left: AtomicU32,
    end: End,
    is_dead: AtomicBool,
    died: Notify,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Goes,
    ToldToStop,
    Dies,
    IsDead,
}

impl Life {
    /// A life of a few steps, or of many.
    pub(crate) fn of(role: Role, rng: &mut StdRng) -> Arc<Self> {
        let is_short = rng.random_bool(0.6);
        let steps = if is_short { rng.random_range(1..60) } else { u32::MAX };
        let end = if rng.random_bool(0.7) { End::Death } else { End::Stop };
        Arc::new(Self {
            role,
            stop: CancellationToken::new(),
            steps_left: AtomicU32::new(steps),
            end,
            is_dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// Spends one step.
    pub(crate) fn step(&self) -> Step {
        if self.is_dead.load(Ordering::Relaxed) {
            return Step::IsDead;
        }
        let left = self.steps_left.load(Ordering::Relaxed);
        if left == u32::MAX || left == 0 {
            return Step::Goes;
        }
        self.steps_left.store(left - 1, Ordering::Relaxed);
        if left > 1 {
            return Step::Goes;
        }
        match self.end {
            End::Stop => {
                self.stop.cancel();
                Step::ToldToStop
            }
            End::Death => {
                self.is_dead.store(true, Ordering::Relaxed);
                self.died.notify_one();
                Step::Dies
            }
        }
    }

    /// Whether it has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// From now on it lives as long as it is let.
    pub(crate) fn spare(&self) {
        self.steps_left.store(u32::MAX, Ordering::Relaxed);
    }

    /// Resolves when it dies.
    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }
}
