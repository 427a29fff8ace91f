//! Points in time as treehook counts them: milliseconds, minutes, UTC hours and UTC days since the Unix epoch.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

/// Milliseconds since the Unix epoch, UTC. Always within the years 1 to 9999, so that it can be
/// rendered as RFC 3339.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z.
const EARLIEST_MS: i64 = -62_135_596_800_000;
const LATEST_MS: i64 = 253_402_300_799_999;

/// At and above this many, a bare number is milliseconds: 10^11 seconds is the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

impl Timestamp {
    /// Milliseconds since the epoch, clamped into the years 1 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(EARLIEST_MS, LATEST_MS))
    }

    /// Seconds since the epoch, clamped into the years 1 to 9999.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// A bare number of a platform: Unix seconds or Unix milliseconds, told apart by size.
    pub fn from_number(number: i64) -> Self {
        if number.unsigned_abs() >= MILLISECONDS_FROM.unsigned_abs() {
            Self::from_millis(number)
        } else {
            Self::from_seconds(number)
        }
    }

    /// As [`Timestamp::from_number`], for a number with a fraction.
    pub fn from_fraction(number: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "10^11 is exact in 53 bits")]
        let in_millis = number.abs() >= MILLISECONDS_FROM as f64;
        #[expect(clippy::cast_possible_truncation, reason = "saturates, then is clamped")]
        let millis = if in_millis { number as i64 } else { (number * 1000.0) as i64 };
        Self::from_millis(millis)
    }

    /// RFC 3339 with any offset; `None` for anything else.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        // Both round down, before the epoch too.
        let (seconds, millis) = (parsed.unix_timestamp(), i64::from(parsed.millisecond()));
        Some(Self::from_millis(seconds * 1000 + millis))
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn to_rfc3339(self) -> String {
        std::str::from_utf8(&self.rfc3339()).expect("digits are ASCII").to_owned()
    }

    /// As [`Timestamp::to_rfc3339`], in ASCII.
    pub(crate) fn rfc3339(self) -> [u8; 24] {
        let moment = UtcDateTime::from_unix_timestamp(self.as_seconds())
            .expect("a Timestamp lies within the years 1 to 9999");
        let (date, time) = (moment.date(), moment.time());
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // By hand: each event is written with two of them, and formatting is several times slower.
        let year = u32::try_from(date.year()).expect("years are 1 to 9999");
        let millis = u32::try_from(self.0.rem_euclid(1000)).expect("a remainder of 1000");
        for (place, number) in [
            (0..4, year),
            (5..7, u32::from(u8::from(date.month()))),
            (8..10, u32::from(date.day())),
            (11..13, u32::from(time.hour())),
            (14..16, u32::from(time.minute())),
            (17..19, u32::from(time.second())),
            (20..23, millis),
        ] {
            write_digits(&mut text[place], number);
        }
        text
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This many milliseconds later; earlier when negative.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this; negative when `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The minute that holds it.
    pub fn minute(self) -> Minute {
        Minute(self.0.div_euclid(60_000))
    }

    /// The UTC hour that holds it.
    pub fn hour(self) -> Hour {
        Hour(self.0.div_euclid(3_600_000))
    }

    /// The UTC day that holds it.
    pub fn day(self) -> Day {
        self.hour().day()
    }
}

/// A minute: minutes since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(pub i64);

impl Minute {
    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(60_000))
    }
}

/// A UTC hour: hours since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub i64);

impl Hour {
    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(3_600_000))
    }

    /// The UTC day that holds it.
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(24)).unwrap_or(i32::MAX))
    }
}

/// A UTC day: days since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// Its first hour.
    pub fn first_hour(self) -> Hour {
        Hour(i64::from(self.0) * 24)
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        self.first_hour().start()
    }

    /// The days that lie whole within the hours from `from` to before `to`. Where there are none the
    /// range is empty and begins at the first midnight that is not before `from`.
    pub fn whole_within(from: Hour, to: Hour) -> Range<Self> {
        let start = Hour(from.0.saturating_add(23)).day();
        start..to.day().max(start)
    }

    /// This many days later; earlier when negative.
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// `YYYY-MM-DD`.
    pub fn to_iso(self) -> String {
        self.start().to_rfc3339()[..10].to_owned()
    }

    /// `YYYY-MM-DD`, read back; `None` for anything else.
    pub fn from_iso(text: &str) -> Option<Self> {
        if text.len() != 10 {
            return None;
        }
        Timestamp::from_rfc3339(&format!("{text}T00:00:00Z")).map(Timestamp::day)
    }
}

/// Fills a place with a number, its last digit last.
fn write_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_and_the_hours_around_them_are_the_whole_stretch() {
        for (from, to) in (-50..50).flat_map(|from| (from..60).map(move |to| (from, to))) {
            let days = Day::whole_within(Hour(from), Hour(to));
            let (start, end) = (days.start.first_hour().0, days.end.first_hour().0);
            let hours = (from..start.min(to)).chain(start..end).chain(end..to);
            assert_eq!(hours.collect::<Vec<_>>(), (from..to).collect::<Vec<_>>(), "{from}..{to}");
            assert!(start - from < 24 && (days.is_empty() || to - end < 24), "{from}..{to}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_by_size() {
        for (number, millis) in [
            (1_700_000_000, 1_700_000_000_000),
            (1_700_000_000_123, 1_700_000_000_123),
            (0, 0),
            (-5, -5000),
            (i64::MAX, LATEST_MS),
            (i64::MIN + 1, EARLIEST_MS),
        ] {
            assert_eq!(Timestamp::from_number(number).as_millis(), millis, "{number}");
        }
    }

    #[test]
    fn rfc3339_is_read_with_any_offset_and_written_in_utc() {
        for (text, written) in [
            ("2026-11-24T07:05:20Z", "2026-11-24T07:05:20.000Z"),
            ("2026-11-24T09:05:20.5+02:00", "2026-11-24T07:05:20.500Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ] {
            let read = Timestamp::from_rfc3339(text).expect(text);
            assert_eq!(read.to_rfc3339(), written);
        }
        for wrong in ["", "2026-11-24", "yesterday", "2026-13-01T00:00:00Z"] {
            assert_eq!(Timestamp::from_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hours_and_days_before_the_epoch_round_down() {
        let moment = Timestamp::from_millis(-1);
        assert_eq!(moment.hour(), Hour(-1));
        assert_eq!(moment.day(), Day(-1));
        assert_eq!(Day(-1).to_iso(), "1969-12-31");
        assert_eq!(Day::from_iso("1969-12-31"), Some(Day(-1)));
        assert_eq!(Day::from_iso("1969-2-31"), None);
    }
}
