//! When requests are due: at a steady rate whatever the answers do, or as fast as they come.

use std::time::Duration;

use tokio::time::Instant;

/// How far behind its schedule a load may fall before it gives slots up. Within it, a stall is made
/// up for, and shows in the latencies, which count from when a request was due.
const BACKLOG: Duration = Duration::from_secs(1);

/// A schedule of slots, one per request.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
    /// Slots that were given up.
    pub(crate) missed: u64,
}

impl Pace {
    /// So many requests per second from `start` on; as many as possible without a rate.
    pub(crate) fn new(rate: Option<f64>, start: Instant) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: start,
            missed: 0,
        }
    }

    /// Takes the next slot: `Ok` with the moment it was due at, `Err` with the moment it will be.
    pub(crate) fn take(&mut self, now: Instant) -> Result<Instant, Instant> {
        let Some(interval) = self.interval else { return Ok(now) };
        if now < self.next {
            return Err(self.next);
        }
        let too_late = (now - self.next).saturating_sub(BACKLOG);
        if !too_late.is_zero() {
            let lost = too_late.as_nanos() / interval.as_nanos().max(1);
            let lost = u32::try_from(lost).unwrap_or(u32::MAX);
            self.missed += u64::from(lost);
            self.next += interval * lost;
        }
        let due = self.next;
        self.next += interval;
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_at_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        let step = Duration::from_millis(100);
        assert_eq!(pace.take(start), Ok(start));
        assert_eq!(pace.take(start), Err(start + step));
        assert_eq!(pace.take(start + step), Ok(start + step));
        // A stall is made up for.
        assert_eq!(pace.take(start + step * 10), Ok(start + step * 2));
        assert_eq!(pace.missed, 0);
    }

    #[test]
    fn a_long_stall_gives_slots_up() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        let due = pace.take(start + Duration::from_mins(1)).unwrap();
        assert_eq!(due, start + Duration::from_secs(59));
        assert_eq!(pace.missed, 590);
    }

    #[test]
    fn without_a_rate_every_moment_is_due() {
        let now = Instant::now();
        assert_eq!(Pace::new(None, now).take(now), Ok(now));
    }
}
