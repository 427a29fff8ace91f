//! Which time a request is about: its period, the zone that cuts its days, and what it is compared with.

use serde::Serialize;
use treehook_event::{Day, Granularity, Hour, HourCount, Period, Timestamp};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::zone::Zone;

/// How long an answer about a period that is over may be kept: events still come late, but seldom.
const CLOSED_SECONDS: u32 = 900;
/// How long any other answer may be kept: many tabs cost one read, and nobody can tell.
pub(crate) const OPEN_SECONDS: u32 = 5;

/// The time that an answer is about.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) period: Period,
    pub(crate) zone: Zone,
    /// The period before, when it was asked for.
    pub(crate) previous: Option<Period>,
}

/// What the parameters say of time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times<'a> {
    pub(crate) period: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
}

/// First moment and end of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Bounds {
    /// First moment, RFC 3339 UTC.
    #[schema(format = "date-time")]
    pub(crate) start: String,
    /// End, exclusive, RFC 3339 UTC.
    #[schema(format = "date-time")]
    pub(crate) end: String,
}

/// One point of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Point {
    /// Start of the minute, hour or day, RFC 3339 UTC.
    #[schema(format = "date-time")]
    pub(crate) at: String,
    /// Views in it.
    pub(crate) views: u64,
    /// Clicks in it.
    pub(crate) clicks: u64,
}

impl Window {
    /// The period that is asked for; its days are the zone's.
    pub(crate) fn read(
        times: Times<'_>,
        zone: Zone,
        compare: bool,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let period = match (times.period, times.from, times.to) {
            (None | Some("last_30_days"), None, None) => last_days(&zone, 30, now)?,
            (Some("last_7_days"), None, None) => last_days(&zone, 7, now)?,
            (Some("last_90_days"), None, None) => last_days(&zone, 90, now)?,
            (None, Some(from), to) => between(&zone, from, to, now)?,
            (period, from, to) => Period::of_parameters(period, from, to, now)?,
        };
        let previous = compare.then(|| before(&zone, period)).transpose()?;
        Ok(Self { period, zone, previous })
    }

    /// How long an answer about it may be kept, in seconds.
    pub(crate) fn fresh_seconds(&self, now: Timestamp) -> u32 {
        if self.period.to.start() <= now { CLOSED_SECONDS } else { OPEN_SECONDS }
    }

    /// Where each point of its series begins, in order. The first may begin before the period.
    pub(crate) fn cuts(&self, granularity: Granularity) -> Result<Vec<Hour>, Problem> {
        let Period { from, to } = self.period;
        match granularity {
            Granularity::Hourly => Ok((from.0..to.0).map(Hour).collect()),
            Granularity::Daily => self.zone.days_between(from, to),
        }
    }

    /// The zone's first and last day, the last one included.
    pub(crate) fn dates(&self) -> Result<(Day, Day), Problem> {
        // A day may begin within the last hour.
        let last = self.period.to.start().plus_millis(-1);
        Ok((self.zone.day_of(self.period.from)?, self.zone.day_at(last)?))
    }
}

/// The zone's last days, today included.
fn last_days(zone: &Zone, days: i32, now: Timestamp) -> Result<Period, Problem> {
    let tomorrow = zone.day_of(now.hour())?.plus(1);
    Ok(Period { from: zone.first_hour(tomorrow.plus(-days))?, to: zone.first_hour(tomorrow)? })
}

/// From one day or moment to another, as [`Period::between`] has it, with the zone's days.
fn between(zone: &Zone, from: &str, to: Option<&str>, now: Timestamp) -> Result<Period, Problem> {
    let today = || zone.day_of(now.hour()).map(Day::to_iso);
    let to = to.map_or_else(today, |to| Ok(to.to_owned()))?;
    let start = match Day::from_iso(from) {
        Some(day) => zone.first_hour(day)?.start().to_rfc3339(),
        None => from.to_owned(),
    };
    let end = match Day::from_iso(&to) {
        Some(day) => zone.first_hour(day.plus(1))?.start().to_rfc3339(),
        None => to,
    };
    Ok(Period::between(&start, &end)?)
}

/// The same length directly before: as many days for whole days of the zone, however many hours
/// those had; else as many hours.
fn before(zone: &Zone, period: Period) -> Result<Period, Problem> {
    let (first, end) = (zone.day_of(period.from)?, zone.day_of(period.to)?);
    // A zone whose days do not begin with an hour has no whole days here.
    let begins = |day, hour| zone.first_hour(day).is_ok_and(|start| start == hour);
    if begins(first, period.from) && begins(end, period.to) {
        let from = zone.first_hour(first.plus(first.0 - end.0))?;
        return Ok(Period { from, to: period.from });
    }
    let hours = period.to.0 - period.from.0;
    Ok(Period { from: Hour(period.from.0 - hours), to: period.from })
}

/// Puts hours into the points that hold them, without gaps. `starts` is in order and covers them.
pub(crate) fn series(starts: &[Hour], hours: &[HourCount]) -> Vec<Point> {
    let mut points: Vec<Point> =
        starts.iter().map(|start| Point { at: second(*start), views: 0, clicks: 0 }).collect();
    for count in hours {
        let after = starts.partition_point(|start| *start <= count.hour);
        if let Some(point) = after.checked_sub(1).and_then(|index| points.get_mut(index)) {
            point.views += count.views;
            point.clicks += count.clicks;
        }
    }
    points
}

/// First moment and end of whole hours.
pub(crate) fn bounds(from: Hour, to: Hour) -> Bounds {
    Bounds { start: second(from), end: second(to) }
}

/// The UTC days that a period touches, as moments.
pub(crate) fn day_bounds(period: Period) -> Bounds {
    let (first, end) = period.days();
    bounds(first.first_hour(), end.first_hour())
}

/// An hour's start without the milliseconds that it never has.
pub(crate) fn second(hour: Hour) -> String {
    hour.start().to_rfc3339().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(tz: &str, period: Option<&str>, from: Option<&str>, to: Option<&str>) -> Window {
        let zone = Zone::named(Some(tz)).unwrap();
        let now = Timestamp::from_rfc3339("2026-11-24T23:30:00Z").unwrap();
        Window::read(Times { period, from, to }, zone, true, now).unwrap()
    }

    fn text(period: Period) -> (String, String) {
        (second(period.from), second(period.to))
    }

    #[test]
    fn named_periods_end_with_the_zones_today() {
        for (tz, from, to) in [
            ("UTC", "2026-11-18T00:00:00Z", "2026-11-25T00:00:00Z"),
            // It is the 25th there.
            ("Europe/Berlin", "2026-11-18T23:00:00Z", "2026-11-25T23:00:00Z"),
            ("America/New_York", "2026-11-18T05:00:00Z", "2026-11-25T05:00:00Z"),
        ] {
            let window = window(tz, Some("last_7_days"), None, None);
            assert_eq!(text(window.period), (from.to_owned(), to.to_owned()), "{tz}");
        }
    }

    #[test]
    fn the_period_before_has_as_many_days_even_when_clocks_change() {
        let berlin = window("Europe/Berlin", None, Some("2026-10-25"), Some("2026-10-25"));
        assert_eq!(berlin.period.to.0 - berlin.period.from.0, 25);
        let previous = berlin.previous.unwrap();
        assert_eq!(previous.to, berlin.period.from);
        assert_eq!(previous.to.0 - previous.from.0, 24);
    }

    #[test]
    fn the_period_before_part_of_a_day_has_as_many_hours() {
        let moments = ("2026-11-24T10:00:00Z", "2026-11-24T13:00:00Z");
        for tz in ["UTC", "Europe/Berlin", "Asia/Kolkata"] {
            let window = window(tz, None, Some(moments.0), Some(moments.1));
            let expected = ("2026-11-24T07:00:00Z".to_owned(), "2026-11-24T10:00:00Z".to_owned());
            assert_eq!(text(window.previous.unwrap()), expected, "{tz}");
        }
    }

    #[test]
    fn a_series_has_a_point_for_each_of_the_zones_days() {
        let window = window("Europe/Berlin", None, Some("2026-10-24"), Some("2026-10-26"));
        let cuts = window.cuts(Granularity::Daily).unwrap();
        let count = |hour| HourCount { hour, views: 2, clicks: 1 };
        let hours: Vec<HourCount> =
            (window.period.from.0..window.period.to.0).map(|hour| count(Hour(hour))).collect();
        let clicks: Vec<u64> = series(&cuts, &hours).iter().map(|point| point.clicks).collect();
        assert_eq!(clicks, [24, 25, 24]);
    }

    #[test]
    fn what_is_over_may_be_kept_longer() {
        let now = Timestamp::from_rfc3339("2026-11-24T23:30:00Z").unwrap();
        for (to, seconds) in [("2026-11-23", 900), ("2026-11-24", 5)] {
            let window = window("UTC", None, Some("2026-11-20"), Some(to));
            assert_eq!(window.fresh_seconds(now), seconds, "{to}");
        }
    }
}
