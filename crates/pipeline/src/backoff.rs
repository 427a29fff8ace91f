//! How long to wait before the next try: longer each time, never for long, never in step with others.

use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// Where a number between 0 and 1 comes from. A test that repeats a run brings its own.
pub type Chance = fn() -> f64;

/// Chance itself.
pub(crate) fn chance() -> f64 {
    rand::rng().random_range(0.0..=1.0)
}

/// Counts failures in a row.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    chance: Chance,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(chance)
    }
}

impl Backoff {
    /// Nothing has failed yet. `chance` decides how far a pause falls short of the longest.
    pub fn new(chance: Chance) -> Self {
        Self { failures: 0, chance }
    }

    /// It worked: the next failure waits the shortest time again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits after one more failure, or until told to stop.
    pub async fn pause(&mut self, stop: &CancellationToken) {
        self.failures = self.failures.saturating_add(1);
        let longest = delay(self.failures);
        // Half to whole: a fleet that failed together does not come back together.
        let jittered = longest.mul_f64(f64::midpoint(1.0, (self.chance)()));
        tokio::select! {
            biased;
            () = stop.cancelled() => (),
            () = tokio::time::sleep(jittered) => (),
        }
    }
}

/// 100 ms, 200 ms, 400 ms ... never more than 5 s: a database that is back should not wait for us.
fn delay(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_five_seconds() {
        for (failures, millis) in
            [(0, 100), (1, 100), (2, 200), (5, 1600), (7, 5000), (u32::MAX, 5000)]
        {
            assert_eq!(delay(failures), Duration::from_millis(millis), "{failures}");
        }
    }
}
