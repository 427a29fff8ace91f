//! Live figures: the last half hour by the minute, and the half hour before it.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use treehook_event::{EventStore, Minute, MinuteCount};
use utoipa::ToSchema;

use crate::fresh::Fresh;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::profiles::{GivenId, Shared, profile_of};
use crate::window::{Bounds, OPEN_SECONDS, Point};

/// Minutes that count as live: long enough to see a post take off, short enough to be now.
const MINUTES: i64 = 30;

/// The last 30 minutes of a profile, the current one included, by the time of the events.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    profile_id: String,
    #[serde(flatten)]
    bounds: Bounds,
    /// Views of the profile.
    views: u64,
    /// Clicks on its links.
    clicks: u64,
    /// The 30 minutes before.
    previous: LiveTotals,
    /// A point per minute, without gaps.
    series: Vec<Point>,
}

/// Views and clicks of 30 minutes.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveTotals {
    #[serde(flatten)]
    bounds: Bounds,
    /// Views of the profile.
    views: u64,
    /// Clicks on its links.
    clicks: u64,
}

/// Views and clicks of the last 30 minutes, by the minute
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/live", operation_id = "getLive",
    params(("id" = String, Path, min_length = 1)),
    responses((status = 200, description = "The numbers", body = Live)),
)]
pub(crate) async fn live<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<Live>, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let end = Minute((console.now)().minute().0 + 1);
    let (from, before) = (Minute(end.0 - MINUTES), Minute(end.0 - 2 * MINUTES));
    let profile = profile_of(&console.store, id).await?.profile_id;
    let counted = console.store.minutes(&profile, before, end).await?;
    let (earlier, now) = counted.split_at(counted.partition_point(|it| it.minute < from));
    let (views, clicks) = sum(now);
    let (views_before, clicks_before) = sum(earlier);
    let body = Live {
        profile_id: profile.to_string(),
        bounds: bounds(from, end),
        views,
        clicks,
        previous: LiveTotals {
            bounds: bounds(before, from),
            views: views_before,
            clicks: clicks_before,
        },
        series: (from.0..end.0).map(|minute| point(Minute(minute), now)).collect(),
    };
    Ok(Fresh { seconds: OPEN_SECONDS, body })
}

fn sum(minutes: &[MinuteCount]) -> (u64, u64) {
    minutes
        .iter()
        .fold((0, 0), |(views, clicks), it| (views + it.counts.views, clicks + it.counts.clicks))
}

fn point(minute: Minute, counted: &[MinuteCount]) -> Point {
    let counts = counted.iter().find(|it| it.minute == minute).map(|it| it.counts);
    let counts = counts.unwrap_or_default();
    Point { at: second(minute), views: counts.views, clicks: counts.clicks }
}

fn bounds(from: Minute, to: Minute) -> Bounds {
    Bounds { start: second(from), end: second(to) }
}

/// A minute's start without the milliseconds that it never has.
fn second(minute: Minute) -> String {
    minute.start().to_rfc3339().replace(".000Z", "Z")
}
