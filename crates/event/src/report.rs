//! Reports: which period is meant, and how the store's rows become an answer (CONTRACT.md section 5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Key, Milestone};
use crate::moment::{Day, Hour, Timestamp};
use crate::names::{LinkId, ProfileId};
use crate::projection::{LinkState, ProfileState};
use crate::rollup::Dimension;
use crate::sketch::Sketch;

/// Longest period that can be asked for, in hours: somewhat more than two years.
const LONGEST_HOURS: i64 = 24 * 800;

/// Whole UTC hours, from `from` up to but without `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first hour.
    pub from: Hour,
    /// The hour after the last one.
    pub to: Hour,
}

/// What is wrong with a period, and which parameter says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}`: {problem}")]
pub struct PeriodError {
    /// `period`, `from` or `to`.
    pub parameter: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Period {
    /// `last_24_hours` (24 clock hours, the current one included) or `last_7_days`, `last_30_days`,
    /// `last_90_days` (UTC days, today included).
    pub fn named(name: &str, now: Timestamp) -> Result<Self, PeriodError> {
        let days = match name {
            "last_24_hours" => {
                let to = Hour(now.hour().0 + 1);
                return Ok(Self { from: Hour(to.0 - 24), to });
            }
            "last_7_days" => 7,
            "last_30_days" => 30,
            "last_90_days" => 90,
            _ => {
                let known = "last_24_hours, last_7_days, last_30_days or last_90_days";
                return Err(PeriodError { parameter: "period", problem: format!("use {known}") });
            }
        };
        let tomorrow = now.day().plus(1);
        Ok(Self { from: tomorrow.plus(-days).first_hour(), to: tomorrow.first_hour() })
    }

    /// From one moment to another: RFC 3339, or `YYYY-MM-DD`. A day given as `to` is included; a
    /// moment is rounded out to whole hours.
    pub fn between(from: &str, to: &str) -> Result<Self, PeriodError> {
        let wrong = |parameter| PeriodError {
            parameter,
            problem: "use YYYY-MM-DD or an RFC 3339 time".to_owned(),
        };
        let start = match Day::from_iso(from) {
            Some(day) => day.first_hour(),
            None => Timestamp::from_rfc3339(from).ok_or_else(|| wrong("from"))?.hour(),
        };
        let end = if let Some(day) = Day::from_iso(to) {
            day.plus(1).first_hour()
        } else {
            let moment = Timestamp::from_rfc3339(to).ok_or_else(|| wrong("to"))?;
            let whole = moment.hour().start() == moment;
            Hour(moment.hour().0 + i64::from(!whole))
        };
        if end <= start {
            return Err(PeriodError {
                parameter: "to",
                problem: "must be after `from`".to_owned(),
            });
        }
        if end.0 - start.0 > LONGEST_HOURS {
            let problem = format!("at most {} days after `from`", LONGEST_HOURS / 24);
            return Err(PeriodError { parameter: "to", problem });
        }
        Ok(Self { from: start, to: end })
    }

    /// What the parameters of a request ask for; 30 days when they ask for nothing.
    pub fn of_parameters(
        period: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, PeriodError> {
        match (period, from, to) {
            (None, None, None) => Self::named("last_30_days", now),
            (Some(name), None, None) => Self::named(name, now),
            (None, Some(from), Some(to)) => Self::between(from, to),
            (None, Some(from), None) => Self::between(from, &now.day().to_iso()),
            (None, None, Some(_)) => {
                Err(PeriodError { parameter: "from", problem: "is missing".to_owned() })
            }
            (Some(_), _, _) => Err(PeriodError {
                parameter: "period",
                problem: "give either `period` or `from` and `to`".to_owned(),
            }),
        }
    }

    /// The UTC days that it touches, the last one exclusive.
    pub fn days(self) -> (Day, Day) {
        (self.from.day(), Hour(self.to.0 - 1).day().plus(1))
    }
}

/// How fine a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// A point per UTC hour.
    Hourly,
    /// A point per UTC day.
    Daily,
}

/// A profile and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileSummary {
    /// Its id.
    pub profile_id: ProfileId,
    /// What events have told.
    pub state: ProfileState,
}

/// Views and clicks of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourCount {
    /// Which hour.
    pub hour: Hour,
    /// Views in it.
    pub views: u64,
    /// Clicks in it.
    pub clicks: u64,
}

/// A link and its clicks in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkTotal {
    /// Its id.
    pub link_id: LinkId,
    /// Clicks in the period.
    pub clicks: u64,
    /// What events have told; blank for a link that was only clicked.
    pub state: LinkState,
}

/// Clicks that share a country, a referrer or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceCount {
    /// Which of the three.
    pub dimension: Dimension,
    /// Its value.
    pub value: String,
    /// Clicks in the period.
    pub clicks: u64,
}

/// A milestone as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MilestoneRow {
    /// The event's key.
    pub key: Key,
    /// What was reached.
    pub milestone: Milestone,
    /// When.
    pub at: Timestamp,
}

/// Views, clicks and visitors of a profile over a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analytics {
    /// Whose.
    pub profile_id: String,
    /// First moment of the period, RFC 3339 UTC.
    pub start: String,
    /// End of the period (exclusive), RFC 3339 UTC.
    pub end: String,
    /// Views of the profile.
    pub views: u64,
    /// Clicks on its links.
    pub clicks: u64,
    /// Clicks per view; null without views.
    pub ctr: Option<f64>,
    /// Distinct visitors over the UTC days that the period touches: approximate above 100.
    pub unique_visitors: u64,
    /// A point per hour or day, without gaps.
    pub series: Vec<Point>,
}

/// One point of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Start of the hour or day, RFC 3339 UTC.
    pub at: String,
    /// Views in it.
    pub views: u64,
    /// Clicks in it.
    pub clicks: u64,
}

/// Clicks per view, to four digits; none without views.
fn ctr(clicks: u64, views: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio to four digits")]
    (views > 0).then(|| (clicks as f64 / views as f64 * 10_000.0).round() / 10_000.0)
}

/// Puts a profile's hours and visitors together.
pub fn analytics(
    profile: &ProfileId,
    period: Period,
    granularity: Granularity,
    hours: &[HourCount],
    visitors: &Sketch,
) -> Analytics {
    let step = match granularity {
        Granularity::Hourly => 1,
        Granularity::Daily => 24,
    };
    let bucket = |hour: Hour| hour.0.div_euclid(step) * step;
    let mut points: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    let mut at = bucket(period.from);
    while at < period.to.0 {
        points.insert(at, (0, 0));
        at += step;
    }
    let (mut views, mut clicks) = (0, 0);
    for count in hours {
        let point = points.entry(bucket(count.hour)).or_default();
        point.0 += count.views;
        point.1 += count.clicks;
        views += count.views;
        clicks += count.clicks;
    }
    let series = points
        .into_iter()
        .map(|(hour, (views, clicks))| Point { at: second(Hour(hour)), views, clicks })
        .collect();
    Analytics {
        profile_id: profile.to_string(),
        start: second(period.from),
        end: second(period.to),
        views,
        clicks,
        ctr: ctr(clicks, views),
        unique_visitors: visitors.count(),
        series,
    }
}

/// An hour's start without the milliseconds that it never has.
fn second(hour: Hour) -> String {
    hour.start().to_rfc3339().replace(".000Z", "Z")
}

/// In which order links are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkSort {
    /// Most clicked first.
    ClicksDesc,
    /// Least clicked first.
    ClicksAsc,
    /// By title, those without one last.
    TitleAsc,
    /// By place on the page, those without one last.
    PositionAsc,
}

impl LinkSort {
    /// As the `sort` parameter names it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "clicks_desc" => Some(Self::ClicksDesc),
            "clicks_asc" => Some(Self::ClicksAsc),
            "title_asc" => Some(Self::TitleAsc),
            "position_asc" => Some(Self::PositionAsc),
            _ => None,
        }
    }
}

/// A link in a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkReport {
    /// Its id.
    pub link_id: String,
    /// Its title, if any event told.
    pub title: Option<String>,
    /// Its target, if any event told one that is `http` or `https`.
    pub url: Option<String>,
    /// Its kind, if any event told.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Clicks in the period.
    pub clicks: u64,
    /// Distinct visitors over the UTC days that the period touches: approximate above 100.
    pub unique_visitors: u64,
    /// Clicks per view of the profile; null without views.
    pub ctr: Option<f64>,
}

/// Puts a profile's links together. `views` are the profile's in the same period.
pub fn links(
    totals: Vec<LinkTotal>,
    visitors: Vec<(LinkId, Sketch)>,
    views: u64,
    sort: LinkSort,
) -> Vec<LinkReport> {
    let visitors: BTreeMap<LinkId, u64> =
        visitors.into_iter().map(|(link, sketch)| (link, sketch.count())).collect();
    let mut totals = totals;
    let title = |total: &LinkTotal| total.state.title.as_ref().map(|field| field.value.clone());
    let position = |total: &LinkTotal| total.state.position.as_ref().map(|field| field.value);
    totals.sort_by(|a, b| {
        let order = match sort {
            LinkSort::ClicksDesc => b.clicks.cmp(&a.clicks),
            LinkSort::ClicksAsc => a.clicks.cmp(&b.clicks),
            LinkSort::TitleAsc => {
                (title(a).is_none(), title(a)).cmp(&(title(b).is_none(), title(b)))
            }
            LinkSort::PositionAsc => {
                (position(a).is_none(), position(a)).cmp(&(position(b).is_none(), position(b)))
            }
        };
        order.then_with(|| a.link_id.cmp(&b.link_id))
    });
    totals
        .into_iter()
        .map(|total| LinkReport {
            unique_visitors: visitors.get(&total.link_id).copied().unwrap_or(0),
            link_id: total.link_id.to_string(),
            title: total.state.title.map(|field| field.value),
            url: total.state.url.and_then(|field| field.value),
            kind: total.state.kind.map(|field| field.value),
            deleted: total.state.deleted.is_some(),
            clicks: total.clicks,
            ctr: ctr(total.clicks, views),
        })
        .collect()
}
