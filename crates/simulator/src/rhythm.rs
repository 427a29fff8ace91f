//! When people visit: more by day than by night, more towards the weekend, more from week to week.

use treehook_event::Timestamp;

use crate::chance::scatter;

const HOUR_MS: i64 = 3_600_000;

/// How busy each UTC hour is: an audience between the Americas and Europe.
const BY_HOUR: [f64; 24] = [
    0.62, 0.50, 0.40, 0.33, 0.30, 0.32, 0.40, 0.52, 0.65, 0.75, 0.82, 0.90, 1.00, 1.02, 1.00, 1.00,
    1.05, 1.15, 1.28, 1.38, 1.40, 1.28, 1.05, 0.80,
];
/// How busy each weekday is, from Monday.
const BY_WEEKDAY: [f64; 7] = [0.90, 0.92, 0.95, 1.00, 1.10, 1.22, 1.08];
/// By how much the last day is busier than the first.
const GROWTH: f64 = 0.8;
/// How busy the one day is on which a post was shared widely.
const SHARED_WIDELY: f64 = 2.5;

/// The hours of the days that traffic is spread over, each with the visits up to its end.
#[derive(Debug)]
pub(crate) struct Rhythm {
    from: Timestamp,
    cumulative: Vec<f64>,
}

impl Rhythm {
    /// The days before `until`.
    pub(crate) fn new(until: Timestamp, days: u32, seed: u64) -> Self {
        let from = until.plus_millis(-i64::from(days) * 24 * HOUR_MS);
        let wide_day = scatter(seed) % u64::from(days.max(1));
        let mut sum = 0.0;
        let cumulative = (0..days * 24)
            .map(|hour| {
                let mut busy = busyness(from.plus_millis(i64::from(hour) * HOUR_MS));
                busy *= 1.0 + GROWTH * f64::from(hour) / f64::from(days * 24);
                if days >= 7 && u64::from(hour / 24) == wide_day {
                    busy *= SHARED_WIDELY;
                }
                sum += busy;
                sum
            })
            .collect();
        Self { from, cumulative }
    }

    /// When this share (0 to 1) of all visits has happened; `None` when there are no days.
    pub(crate) fn moment(&self, share: f64) -> Option<Timestamp> {
        let wanted = share * self.cumulative.last()?;
        let hour = self.cumulative.partition_point(|sum| *sum <= wanted);
        let hour = hour.min(self.cumulative.len() - 1);
        let before = if hour == 0 { 0.0 } else { self.cumulative[hour - 1] };
        let within = (wanted - before) / (self.cumulative[hour] - before);
        #[expect(clippy::cast_possible_truncation, reason = "below the milliseconds of an hour")]
        let offset = (within.clamp(0.0, 1.0) * 3_599_999.0) as i64;
        let hours = i64::try_from(hour).unwrap_or(i64::MAX);
        Some(self.from.plus_millis(hours.saturating_mul(HOUR_MS) + offset))
    }
}

fn busyness(at: Timestamp) -> f64 {
    let place = |number: i64, len: i64| usize::try_from(number.rem_euclid(len)).unwrap_or(0);
    // The first day of the epoch was a Thursday.
    let weekday = place(i64::from(at.day().0) + 3, 7);
    BY_HOUR[place(at.hour().0, 24)] * BY_WEEKDAY[weekday]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_order_and_within_the_days() {
        let until = Timestamp::from_seconds(1_790_000_000);
        let rhythm = Rhythm::new(until, 30, 1);
        let moments: Vec<_> =
            (0..=1000).map(|n| rhythm.moment(f64::from(n) / 1000.0).unwrap()).collect();
        assert!(moments.is_sorted());
        assert!(moments[0].millis_since(until) >= -30 * 24 * HOUR_MS);
        assert!(moments[1000] <= until);
        assert_eq!(Rhythm::new(until, 0, 1).moment(0.5), None);
    }

    #[test]
    fn evenings_are_busier_than_nights_and_saturdays_than_mondays() {
        // 1970-01-05 was a Monday.
        let at =
            |day: i64, hour: i64| busyness(Timestamp::from_millis((day * 24 + hour) * HOUR_MS));
        assert!(at(4, 20) > 3.0 * at(4, 4));
        assert!(at(9, 12) > at(4, 12));
    }
}
