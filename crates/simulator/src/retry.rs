//! What becomes of a delivery that was not answered with a 2xx: sent again after a while, or given up.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::{BadPlan, require};
use crate::traffic::Delivery;

/// After how many seconds Linktree's senders try again (CONTRACT.md section 1).
const PLATFORM_DELAYS: [f64; 5] = [10.0, 30.0, 90.0, 270.0, 810.0];
/// Deliveries that wait to be sent again, at most; about 50 MB of them. Beyond, they are given up.
const WAITING_MAX: usize = 100_000;

/// What becomes of a delivery that was not answered with a 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryPolicy {
    /// It is given up.
    None,
    /// It is sent again after each of these delays in turn, as platforms do, then given up.
    Platform {
        /// From an answer to the next attempt.
        delays: Vec<Duration>,
    },
}

impl RetryPolicy {
    /// The platform's own delays, times a factor: 0.001 makes an outage of minutes one of moments.
    pub fn platform(factor: f64) -> Result<Self, BadPlan> {
        require("retry factor", factor > 0.0 && factor <= 1.0, || {
            "above 0 and up to 1".to_owned()
        })?;
        let delays = PLATFORM_DELAYS.map(|seconds| Duration::from_secs_f64(seconds * factor));
        Ok(Self::Platform { delays: delays.to_vec() })
    }

    /// How long to wait after this many attempts; `None` gives the delivery up.
    pub(crate) fn delay(&self, attempts: usize) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Platform { delays } => delays.get(attempts.checked_sub(1)?).copied(),
        }
    }
}

/// A delivery about to be sent.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) delivery: Delivery,
    /// How often it has been sent before.
    pub(crate) attempts: usize,
    /// Since when it is due: where its latency counts from.
    pub(crate) due: Instant,
}

/// Deliveries that wait to be sent again, the first due first.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: BTreeMap<(Instant, u64), (Delivery, usize)>,
    entered: u64,
}

impl Waiting {
    /// Takes the delivery in, or hands it back when there is no room.
    pub(crate) fn put(
        &mut self,
        due: Instant,
        delivery: Delivery,
        attempts: usize,
    ) -> Result<(), Delivery> {
        if self.queue.len() >= WAITING_MAX {
            return Err(delivery);
        }
        self.entered += 1;
        self.queue.insert((due, self.entered), (delivery, attempts));
        Ok(())
    }

    /// Takes out the first one that is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Attempt> {
        let first = self.queue.first_entry()?;
        let due = first.key().0;
        (due <= now).then(|| {
            let (delivery, attempts) = first.remove();
            Attempt { delivery, attempts, due }
        })
    }

    /// When the first one will be due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Everything that still waits.
    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        self.queue.into_values().map(|(delivery, _)| delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_try_six_times() {
        let policy = RetryPolicy::platform(0.001).unwrap();
        let delays: Vec<_> = (1..=6).map(|attempts| policy.delay(attempts)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(delays, [millis(10), millis(30), millis(90), millis(270), millis(810), None]);
        assert_eq!(RetryPolicy::None.delay(1), None);
        assert!(RetryPolicy::platform(0.0).is_err());
    }
}
