//! What befalls an operation: mostly nothing, more in some runs than in others.

use rand::rngs::StdRng;
use rand::{Rng, RngExt as _};

/// What an operation depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Broker,
    Disk,
    Database,
}

/// What befalls one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Works,
    /// Nothing has happened, and the caller learns so.
    FailsBefore,
    /// It has happened, and the caller does not learn it.
    FailsAfter,
    /// Nothing happens, and the caller waits for its own time-out.
    Hangs,
    /// The caller waits for its own time-out, and then it happens all the same.
    HappensLater,
}

/// How a run's faults are spread.
#[derive(Debug)]
pub(crate) struct Weather {
    /// How often an operation meets a fault of its own.
    share: f64,
    /// From which step of the world to which the broker, the disk and the database are down.
    outages: [(u32, u32); 3],
    /// How often a broker's session is lost at a step.
    pub(crate) lost_sessions: f64,
    pub(crate) is_over: bool,
}

impl Weather {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        const SHARES: [f64; 4] = [0.0, 0.03, 0.1, 0.3];
        let mut outage = |likely: f64| {
            if !rng.random_bool(likely) {
                return (0, 0);
            }
            let from = rng.random_range(0..60);
            (from, from + rng.random_range(5..80))
        };
        let outages = [outage(0.5), outage(0.15), outage(0.4)];
        Self {
            share: SHARES[rng.random_range(0..SHARES.len())],
            outages,
            lost_sessions: if rng.random_bool(0.5) { 0.02 } else { 0.0 },
            is_over: false,
        }
    }

    pub(crate) fn fate(&self, target: Target, step: u32, rng: &mut StdRng) -> Fate {
        if self.is_over {
            return Fate::Works;
        }
        let (from, to) = self.outages[target as usize];
        if (from..to).contains(&step) {
            // A server that is gone refuses at once; one behind a cut cable is waited for.
            return if rng.random_bool(0.8) { Fate::FailsBefore } else { Fate::Hangs };
        }
        if !rng.random_bool(self.share) {
            return Fate::Works;
        }
        match rng.next_u32() % 4 {
            0 => Fate::FailsBefore,
            1 => Fate::FailsAfter,
            2 => Fate::Hangs,
            _ => Fate::HappensLater,
        }
    }
}
