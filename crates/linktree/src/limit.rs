//! Keeps the client under what Linktree allows: so many requests in any stretch of a minute.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::settings::Quota;

/// When the latest requests went out: never more of them than may.
#[derive(Debug)]
pub(crate) struct Limit {
    most: usize,
    per: Duration,
    sent: Mutex<VecDeque<Instant>>,
}

impl Limit {
    /// Stays under 90 % of the quota. A window that slides, so that it holds wherever Linktree's own
    /// window begins.
    pub(crate) fn new(quota: Quota) -> Self {
        // The largest number that is below nine tenths; but one request must be possible.
        let most = (u64::from(quota.requests) * 9).saturating_sub(1) / 10;
        let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        Self { most, per: quota.per, sent: Mutex::new(VecDeque::new()) }
    }

    /// Waits until a request may go out, at most the length of the window per request ahead of it.
    pub(crate) async fn pass(&self) {
        while let Err(free_at) = self.try_pass(Instant::now()) {
            sleep_until(free_at).await;
        }
    }

    fn try_pass(&self, now: Instant) -> Result<(), Instant> {
        let mut sent = self.sent.lock().expect("nobody panics while holding it");
        while sent.front().is_some_and(|at| *at + self.per <= now) {
            sent.pop_front();
        }
        match sent.front() {
            Some(oldest) if sent.len() >= self.most => Err(*oldest + self.per),
            Some(_) | None => {
                sent.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_sees_nine_requests() {
        let limit = Limit::new(Quota { requests: 10, per: Duration::from_mins(1) });
        let mut passed = Vec::new();
        for _ in 0..30 {
            limit.pass().await;
            passed.push(Instant::now());
        }
        for at in &passed {
            let within =
                |other: &&Instant| **other >= *at && **other - *at < Duration::from_mins(1);
            assert!(passed.iter().filter(within).count() <= 8);
        }
        // And none waits longer than it must.
        assert_eq!(passed[7], passed[0]);
        assert_eq!(passed[29] - passed[0], Duration::from_mins(3));
    }

    #[test]
    fn it_stays_under_nine_tenths() {
        for (requests, most) in [(10, 8), (60, 53), (30, 26), (1, 1), (0, 1)] {
            let quota = Quota { requests, per: Duration::from_mins(1) };
            assert_eq!(Limit::new(quota).most, most);
        }
    }
}
