//! How long to wait before another attempt, if there is to be one.

use std::time::Duration;

use crate::error::ApiError;
use crate::settings::RetryRule;

/// How long to wait after this many attempts; `None` when there is no other. `jitter` is 0 to 1:
/// clients that failed together do not come back together.
pub(crate) fn pause(
    rule: &RetryRule,
    attempts: u32,
    error: &ApiError,
    jitter: f64,
) -> Option<Duration> {
    if attempts >= rule.attempts || !error.is_worth_another_try() {
        return None;
    }
    let doubled = rule.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let ours = doubled.min(rule.longest).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    match error {
        ApiError::RateLimited { retry_after: Some(wait) } if *wait > rule.patience => None,
        // Never before the time that was asked for.
        ApiError::RateLimited { retry_after: Some(wait) } => {
            Some(*wait + rule.first.mul_f64(jitter.clamp(0.0, 1.0)))
        }
        _ => Some(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RetryRule = RetryRule {
        attempts: 9,
        first: Duration::from_millis(500),
        longest: Duration::from_secs(30),
        patience: Duration::from_mins(2),
    };

    #[test]
    fn pauses_double_within_bounds_and_scatter_downwards() {
        for (attempts, millis) in [(1, 500), (2, 1000), (3, 2000), (7, 30_000), (8, 30_000)] {
            let longest = pause(&RULE, attempts, &ApiError::Server(503), 0.0).unwrap();
            let shortest = pause(&RULE, attempts, &ApiError::Server(503), 1.0).unwrap();
            assert_eq!(longest, Duration::from_millis(millis));
            assert_eq!(shortest, longest / 2);
        }
        assert_eq!(pause(&RULE, 9, &ApiError::Server(503), 0.0), None);
    }

    #[test]
    fn only_what_may_heal_is_tried_again() {
        assert_eq!(pause(&RULE, 1, &ApiError::TokenRefused(401), 0.0), None);
        assert_eq!(pause(&RULE, 1, &ApiError::TimedOut(Duration::from_secs(10)), 0.0), None);
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_if_it_is_bearable() {
        let limited =
            |seconds| ApiError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        let wait = pause(&RULE, 1, &limited(60), 0.5).unwrap();
        assert!(wait >= Duration::from_mins(1) && wait < Duration::from_secs(61));
        assert_eq!(pause(&RULE, 1, &limited(121), 0.0), None);
    }
}
