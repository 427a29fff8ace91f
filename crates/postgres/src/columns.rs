//! Points in time as the database's columns hold them.

use time::{Date, OffsetDateTime};
use treehook_event::{Day, Hour, Minute, Timestamp};

/// The Julian day on which the Unix epoch begins.
const EPOCH: i32 = 2_440_588;

/// As `timestamptz`.
pub(crate) fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_millis()) * 1_000_000)
        .expect("a Timestamp lies within the years 1 to 9999")
}

/// An hour's start as `timestamptz`.
pub(crate) fn hour_start(hour: Hour) -> OffsetDateTime {
    moment(hour.start())
}

/// A minute's start as `timestamptz`.
pub(crate) fn minute_start(minute: Minute) -> OffsetDateTime {
    moment(minute.start())
}

/// Read back from `timestamptz`.
pub(crate) fn timestamp(moment: OffsetDateTime) -> Timestamp {
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    Timestamp::from_millis(i64::try_from(millis).expect("fits for as long as `time` has years"))
}

/// As `date`; a day beyond the years 1 to 9999 becomes the nearest one within.
pub(crate) fn date(day: Day) -> Date {
    moment(day.start()).date()
}

/// Read back from `date`.
pub(crate) fn day(date: Date) -> Day {
    Day(date.to_julian_day() - EPOCH)
}

/// A count as `bigint`. Never beyond it: a count is raised by one per event.
pub(crate) fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count read back from `bigint`.
pub(crate) fn count(bigint: i64) -> u64 {
    u64::try_from(bigint).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_days_come_back() {
        for millis in [0, -1, 1_700_000_000_123, i64::MIN, i64::MAX] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(timestamp(moment(at)), at, "{millis}");
            assert_eq!(day(date(at.day())), at.day(), "{millis}");
        }
        assert_eq!(day(date(Day(i32::MAX))).to_iso(), "9999-12-31");
    }
}
