//! Figures over a period, path by path: what is asked, which rows that takes, and the answer's shape.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::time::timeout;
use treehook_event::EventStore;
use utoipa::ToSchema;

use crate::audience::{self, Audience};
use crate::figures::{self, PreviousTotals, RankedLink, Span, Totals, VisitorDays};
use crate::fresh::Fresh;
use crate::parameters::{Fineness, Order, Parameters, WHEN, When};
use crate::problem::Problem;
use crate::profiles::{GivenId, Shared, cut, profile_of};
use crate::status::PipelineStatus;
use crate::window::{Point, series};

/// Links, countries and referrers when nobody says how many: all of them, for nearly everybody.
const LIST: u32 = 1000;

/// Views, clicks and visitors of a profile over a period.
#[derive(Serialize, ToSchema)]
pub(crate) struct Analytics {
    #[serde(flatten)]
    pub(crate) span: Span,
    #[serde(flatten)]
    pub(crate) totals: Totals,
    /// The totals of the period before, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<PreviousTotals>,
    /// A point per hour or day, without gaps. The first one may begin before the period.
    pub(crate) series: Vec<Point>,
}

/// Views, clicks and visitors over a period
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/analytics", operation_id = "getAnalytics",
    params(
        ("id" = String, Path, min_length = 1), When,
        ("granularity" = inline(Option<Fineness>), Query, description = "hourly for `last_24_hours`, else daily"),
    ),
    responses((status = 200, description = "The numbers", body = Analytics)),
)]
pub(crate) async fn analytics<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<Analytics>, Problem> {
    let asked = Parameters::read(query.as_deref(), &[&WHEN[..], &["granularity"]].concat())?;
    let now = (console.now)();
    let window = asked.window(now)?;
    let cuts = window.cuts(asked.granularity()?)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let (totals, hours) = figures::totals(&console.store, &profile, window.period).await?;
    let previous = figures::previous_totals(&console.store, &profile, &window).await?;
    let body = Analytics {
        span: Span::of(&profile, &window),
        totals,
        previous,
        series: series(&cuts, &hours),
    };
    Ok(Fresh { seconds: window.fresh_seconds(now), body })
}

/// Links of a profile.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkPage {
    #[serde(flatten)]
    span: Span,
    #[serde(flatten)]
    visitor_days: VisitorDays,
    /// How many there are, those included that are on other pages.
    links_total: usize,
    links: Vec<RankedLink>,
    /// What `after` takes to get the next page; null on the last one.
    next: Option<String>,
}

/// Links with their clicks in a period
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/links", operation_id = "listLinks",
    params(
        ("id" = String, Path, min_length = 1), When,
        ("sort" = inline(Option<Order>), Query, description = "clicks_desc without it"),
        ("after" = Option<String>, Query, min_length = 1, max_length = 200, description = "The `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "1000 without it"),
    ),
    responses((status = 200, description = "The links", body = LinkPage)),
)]
pub(crate) async fn links<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<LinkPage>, Problem> {
    let known = [&WHEN[..], &["sort", "after", "limit"]].concat();
    let asked = Parameters::read(query.as_deref(), &known)?;
    let now = (console.now)();
    let (window, sort) = (asked.window(now)?, asked.sort()?);
    let limit = asked.limit(LIST, console.limits.list_max)?;
    let (store, profile) = (&console.store, profile_of(&console.store, id).await?.profile_id);
    let mut views = [0, 0];
    for (sum, period) in views.iter_mut().zip([Some(window.period), window.previous]) {
        let Some(period) = period else { continue };
        let hours = store.hours(&profile, period.from, period.to).await?;
        *sum = hours.iter().map(|hour| hour.views).sum();
    }
    let mut links = figures::links(store, &profile, &window, views, sort).await?;
    let links_total = links.len();
    let place = asked.after(|id| links.iter().position(|link| link.link_id == id))?;
    links.drain(..place.map_or(0, |place| place + 1));
    let more = cut(&mut links, limit);
    let next = links.last().filter(|_| more).map(|last| last.link_id.clone());
    let visitor_days = VisitorDays::of(window.period);
    let body =
        LinkPage { span: Span::of(&profile, &window), visitor_days, links_total, links, next };
    Ok(Fresh { seconds: window.fresh_seconds(now), body })
}

/// Where a profile's clicks came from.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileAudience {
    #[serde(flatten)]
    span: Span,
    #[serde(flatten)]
    audience: Audience,
}

/// Countries, referrers and devices of the clicks on the UTC days that a period touches
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/audience", operation_id = "getAudience",
    params(
        ("id" = String, Path, min_length = 1), When,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "1000 in each list without it"),
    ),
    responses((status = 200, description = "The audience", body = ProfileAudience)),
)]
pub(crate) async fn audience<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<ProfileAudience>, Problem> {
    let asked = Parameters::read(query.as_deref(), &[&WHEN[..], &["limit"]].concat())?;
    let now = (console.now)();
    let window = asked.window(now)?;
    let limit = asked.limit(LIST, console.limits.list_max)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let audience = audience::audience(&console.store, &profile, &window, limit).await?;
    let body = ProfileAudience { span: Span::of(&profile, &window), audience };
    Ok(Fresh { seconds: window.fresh_seconds(now), body })
}

/// How the pipeline is doing; null is what this process cannot know or ask
#[utoipa::path(
    get, path = "/api/v1/status", operation_id = "getStatus",
    responses((status = 200, description = "The state", body = PipelineStatus)),
)]
pub(crate) async fn status<S: EventStore + 'static>(
    State(console): Shared<S>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    // Waits for no turn: it is what people look at when the store is slow.
    match timeout(console.limits.read_timeout, (console.status)()).await {
        Ok(status) => Ok(Json(status).into_response()),
        Err(_) => Err(Problem::store_unavailable()),
    }
}
