//! The trend of one link, country, referrer or device: what a dashboard shows of a chosen row.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use treehook_event::{Dimension, EventStore, Granularity, Hour, LinkId, Period, ProfileId};
use utoipa::ToSchema;

use crate::console::Console;
use crate::figures::Span;
use crate::fresh::Fresh;
use crate::parameters::{Fineness, Parameters, WHEN, When};
use crate::problem::Problem;
use crate::profiles::{GivenId, Shared, profile_of};
use crate::window::{Window, second};

/// Most points of a trend: a year of days, or a month and a half of hours.
const POINTS_MAX: usize = 1100;

/// What a trend can be of.
const SLICES: [&str; 4] = ["link", "country", "referrer", "device"];

/// Clicks of one slice of a profile over a period.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trend {
    #[serde(flatten)]
    span: Span,
    /// `link`, `country`, `referrer` or `device`.
    by: &'static str,
    /// Which one.
    value: String,
    /// Clicks, the sum of the series.
    clicks: u64,
    /// Clicks in the period before, where asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_clicks: Option<u64>,
    /// A point per hour or day for a link; per UTC day, all that the period touches, for the others.
    series: Vec<ClickPoint>,
}

/// Clicks of one hour or day.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClickPoint {
    /// Its start, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
    clicks: u64,
}

/// Which slice.
enum Slice {
    Link(LinkId),
    Audience(Dimension, String),
}

/// Clicks on one link, or from one country, referrer or device; name exactly one of them
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/trend", operation_id = "getTrend",
    params(
        ("id" = String, Path, min_length = 1), When,
        ("granularity" = inline(Option<Fineness>), Query, description = "hourly for `last_24_hours`, else daily; of a link alone: the others are kept by UTC day"),
        ("link" = Option<String>, Query, min_length = 1, max_length = 200, example = "link-1", description = "A `link_id`"),
        ("country" = Option<String>, Query, min_length = 1, description = "As `locations` names it"),
        ("referrer" = Option<String>, Query, min_length = 1, description = "As `referrers` names it"),
        ("device" = Option<String>, Query, min_length = 1, description = "mobile, desktop, tablet or unknown"),
    ),
    responses((status = 200, description = "The trend", body = Trend)),
)]
pub(crate) async fn trend<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<Trend>, Problem> {
    let known = [&WHEN[..], &["granularity"], &SLICES[..]].concat();
    let asked = Parameters::read(query.as_deref(), &known)?;
    let now = (console.now)();
    let (window, (by, value)) = (asked.window(now)?, chosen(&asked)?);
    let slice = slice(by, value)?;
    let points = points(&asked, &slice, &window)?;
    let profile = profile_of(&console.store, id).await?.profile_id;

    let mut counted =
        clicks(&console, &profile, &slice, window.period).await?.into_iter().peekable();
    let series = points.iter().map(|point| {
        let mut clicks = 0;
        while let Some((_, more)) = counted.next_if(|(hour, _)| *hour < point.to) {
            clicks += more;
        }
        ClickPoint { at: second(point.from), clicks }
    });
    let series: Vec<ClickPoint> = series.collect();
    let previous_clicks = match window.previous {
        Some(period) => {
            let counted = clicks(&console, &profile, &slice, period).await?;
            Some(counted.iter().map(|(_, clicks)| clicks).sum())
        }
        None => None,
    };
    let body = Trend {
        span: Span::of(&profile, &window),
        by,
        value: value.to_owned(),
        clicks: series.iter().map(|point| point.clicks).sum(),
        previous_clicks,
        series,
    };
    Ok(Fresh { seconds: window.fresh_seconds(now), body })
}

/// The one slice that is named.
fn chosen(asked: &Parameters) -> Result<(&'static str, &str), Problem> {
    let mut named = SLICES.iter().filter_map(|by| Some((*by, asked.get(by)?)));
    match (named.next(), named.next()) {
        (Some(slice), None) => Ok(slice),
        (Some(_), Some((second, _))) => {
            Err(Problem::invalid_parameter(second, "name one of link, country, referrer, device"))
        }
        (None, _) => {
            Err(Problem::invalid_parameter("link", "name a link, country, referrer or device"))
        }
    }
}

fn slice(by: &str, value: &str) -> Result<Slice, Problem> {
    match Dimension::named(by) {
        Some(dimension) => Ok(Slice::Audience(dimension, value.to_owned())),
        None => LinkId::new(value)
            .map(Slice::Link)
            .map_err(|error| Problem::invalid_parameter("link", error.0)),
    }
}

/// The hours or days of the series, each as a period of its own within the window.
fn points(asked: &Parameters, slice: &Slice, window: &Window) -> Result<Vec<Period>, Problem> {
    let points: Vec<Period> = match slice {
        Slice::Link(_) => {
            let mut starts = window.cuts(asked.granularity()?)?;
            // Unlike a day's start on a chart, a query must not reach back before the period.
            if let Some(first) = starts.first_mut() {
                *first = window.period.from;
            }
            let ends = starts.iter().skip(1).copied().chain([window.period.to]);
            starts.iter().copied().zip(ends).map(|(from, to)| Period { from, to }).collect()
        }
        Slice::Audience(..) => {
            if asked.get("granularity").is_some() && asked.granularity()? == Granularity::Hourly {
                let problem = "only a link has hours; the others are kept by UTC day";
                return Err(Problem::invalid_parameter("granularity", problem));
            }
            let (first, end) = window.period.days();
            let starts = (first.0..end.0).map(|day| treehook_event::Day(day).first_hour());
            starts.map(|from| Period { from, to: Hour(from.0 + 24) }).collect()
        }
    };
    if points.len() > POINTS_MAX {
        let problem = format!("gives {} points, at most {POINTS_MAX} are drawn", points.len());
        return Err(Problem::invalid_parameter("period", &problem));
    }
    Ok(points)
}

/// Clicks by the hour, or by the day's first hour, in order.
async fn clicks<S: EventStore>(
    console: &Console<S>,
    profile: &ProfileId,
    slice: &Slice,
    period: Period,
) -> Result<Vec<(Hour, u64)>, Problem> {
    match slice {
        Slice::Link(link) => {
            Ok(console.store.link_hours(profile, link, period.from, period.to).await?)
        }
        Slice::Audience(dimension, value) => {
            let (first, end) = period.days();
            let days =
                console.store.audience_days(profile, (*dimension, value), first, end).await?;
            Ok(days.into_iter().map(|(day, clicks)| (day.first_hour(), clicks)).collect())
        }
    }
}
