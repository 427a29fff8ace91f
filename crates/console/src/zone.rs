//! Where days begin: a time zone's midnights as UTC hours, the unit that everything is counted in.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use treehook_event::{Day, Hour, Timestamp};

use crate::problem::Problem;

/// Longest zone name that is looked up: the longest there is has 32 characters.
const NAME_MAX: usize = 64;

/// A time zone, or UTC.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone(Option<TimeZone>);

impl Zone {
    /// What `tz` names. The database is carried in the binary: answers do not depend on the machine.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, Problem> {
        let Some(name) = name else { return Ok(Self(None)) };
        if name.len() <= NAME_MAX
            && let Ok(zone) = TimeZoneDatabase::bundled().get(name)
        {
            return Ok(Self((zone.iana_name() != Some("UTC")).then_some(zone)));
        }
        Err(Problem::invalid_parameter("tz", "use a name like `Europe/Berlin` or `UTC`"))
    }

    pub(crate) fn name(&self) -> &str {
        self.0.as_ref().and_then(TimeZone::iana_name).unwrap_or("UTC")
    }

    /// The zone's day that holds the start of this UTC hour.
    pub(crate) fn day_of(&self, hour: Hour) -> Result<Day, Problem> {
        self.day_at(hour.start())
    }

    /// The zone's day that holds a moment.
    pub(crate) fn day_at(&self, at: Timestamp) -> Result<Day, Problem> {
        let Some(zone) = &self.0 else { return Ok(at.day()) };
        let moment = jiff::Timestamp::from_second(at.as_seconds());
        let date = moment.map_err(|_| out_of_range())?.to_zoned_datetime(zone.clone()).date();
        Day::from_iso(&date.to_string()).ok_or_else(out_of_range)
    }

    /// The hour that a day of the zone begins with. A day that skips its midnight begins after the
    /// gap. Where the day begins within an hour there is no right answer, so there is none.
    pub(crate) fn first_hour(&self, day: Day) -> Result<Hour, Problem> {
        let Some(zone) = &self.0 else { return Ok(day.first_hour()) };
        let date: Date = day.to_iso().parse().map_err(|_| out_of_range())?;
        let midnight = date.to_zoned_datetime(zone.clone()).map_err(|_| out_of_range())?;
        let start = Timestamp::from_seconds(midnight.timestamp().as_second());
        if start.hour().start() == start {
            return Ok(start.hour());
        }
        let problem = format!(
            "{} begins its {} within a UTC hour, and counts are kept by UTC hour: use a zone whose \
             offset is whole hours, or `UTC`",
            self.name(),
            day.to_iso()
        );
        Err(Problem::invalid_parameter("tz", &problem))
    }

    /// The first hours of all days that touch `from..to`, in order.
    pub(crate) fn days_between(&self, from: Hour, to: Hour) -> Result<Vec<Hour>, Problem> {
        let (first, last) = (self.day_of(from)?, self.day_of(Hour(to.0 - 1))?);
        let mut starts = (first.0..=last.0)
            .map(|day| self.first_hour(Day(day)))
            .collect::<Result<Vec<Hour>, Problem>>()?;
        // A zone that crosses the date line skips a whole day: two days would begin at once.
        starts.dedup();
        Ok(starts)
    }
}

fn out_of_range() -> Problem {
    Problem::invalid_parameter("tz", "cannot cut days that far from today")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::named(Some(name)).unwrap()
    }

    fn day(text: &str) -> Day {
        Day::from_iso(text).unwrap()
    }

    #[test]
    fn a_day_begins_at_the_zones_midnight() {
        for (name, of, start) in [
            ("UTC", "2026-11-24", "2026-11-24T00:00:00.000Z"),
            ("Europe/Berlin", "2026-11-24", "2026-11-23T23:00:00.000Z"),
            ("Europe/Berlin", "2026-07-01", "2026-06-30T22:00:00.000Z"),
            ("America/New_York", "2026-11-24", "2026-11-24T05:00:00.000Z"),
            // Midnight did not happen: the clock went from 23:59 to 01:00.
            ("America/Santiago", "2022-09-11", "2022-09-11T04:00:00.000Z"),
        ] {
            let first = zone(name).first_hour(day(of)).unwrap();
            assert_eq!(first.start().to_rfc3339(), start, "{name} {of}");
            assert_eq!(zone(name).day_of(first).unwrap(), day(of), "{name} {of}");
        }
    }

    #[test]
    fn days_of_a_change_of_clocks_have_23_and_25_hours() {
        let berlin = zone("europe/berlin");
        for (of, hours) in [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)] {
            let (start, end) = (berlin.first_hour(day(of)), berlin.first_hour(day(of).plus(1)));
            assert_eq!(end.unwrap().0 - start.unwrap().0, hours, "{of}");
        }
    }

    #[test]
    fn a_midnight_within_an_hour_is_refused_and_never_rounded() {
        for name in ["Asia/Kathmandu", "Asia/Kolkata", "Pacific/Chatham", "Australia/Eucla"] {
            assert!(zone(name).first_hour(day("2026-11-24")).is_err(), "{name}");
        }
        // Half an hour off in winter, whole hours in summer: each day has its own answer.
        let lord_howe = zone("Australia/Lord_Howe");
        assert!(lord_howe.first_hour(day("2026-07-01")).is_err());
        assert!(lord_howe.first_hour(day("2026-12-01")).is_ok());
    }

    #[test]
    fn a_day_that_a_zone_skipped_is_no_day() {
        let apia = zone("Pacific/Apia");
        let start = apia.first_hour(day("2011-12-29")).unwrap();
        let end = apia.first_hour(day("2012-01-01")).unwrap();
        assert_eq!(apia.days_between(start, end).unwrap().len(), 2);
    }

    #[test]
    fn a_name_that_is_no_zone_is_refused() {
        for name in ["", "Berlin", "Mars/Olympus", "../etc/passwd", &"x".repeat(200)] {
            assert!(Zone::named(Some(name)).is_err(), "{name}");
        }
        assert_eq!(
            Zone::named(Some("Etc/UTC")).map(|zone| zone.name().to_owned()).ok().as_deref(),
            Some("Etc/UTC")
        );
        assert_eq!(Zone::named(None).unwrap().name(), "UTC");
    }
}
