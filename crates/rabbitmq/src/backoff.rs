//! How long to wait before the broker is tried again.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure. Jittered, so that a thousand clients of a broker
    /// that restarts do not come back in the same millisecond.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        delay(self.failures).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// What failed works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// 100 ms, 200 ms, 400 ms … never more than 2 s, so that a broker that is back is used within 5 s.
fn delay(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);
    FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_longest() {
        for (failures, millis) in
            [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (u32::MAX, 2000)]
        {
            assert_eq!(delay(failures), Duration::from_millis(millis), "{failures}");
        }
    }

    #[test]
    fn jitter_only_shortens_and_a_reset_starts_over() {
        let mut backoff = Backoff::default();
        for failures in 1..10 {
            let next = backoff.next();
            assert!(next <= delay(failures) && next >= delay(failures) / 2, "{failures}");
        }
        backoff.reset();
        assert!(backoff.next() <= delay(1));
    }
}
