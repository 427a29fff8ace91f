//! The read API, path by path: what is asked, which rows that takes, and the answer's shape.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::time::timeout;
use treehook_event::{
    Analytics, Audience, EventStore, Hour, LinkReport, Location, MilestoneRow, Period, ProfileId,
    ProfileSummary, Referrer,
};

use crate::console::Console;
use crate::parameters::Parameters;
use crate::problem::Problem;

/// Rows in an answer when nobody says how many: what people look at, and programs page through.
pub(crate) const PAGE: u32 = 100;
/// Links, countries and referrers when nobody says how many: all of them, for nearly everybody.
pub(crate) const LIST: u32 = 1000;

type Shared<S> = State<Arc<Console<S>>>;
pub(crate) type GivenId = Result<Path<String>, PathRejection>;

/// A page of profiles, in order of id.
#[derive(Serialize)]
pub(crate) struct Profiles {
    profiles: Vec<ProfileAnswer>,
    /// What `after` takes to get the next page; null on the last one.
    next: Option<String>,
}

/// A profile and what events have told of it.
#[derive(Serialize)]
pub(crate) struct ProfileAnswer {
    profile_id: String,
    username: Option<String>,
    display_name: Option<String>,
    bio: Option<String>,
    avatar_url: Option<String>,
    theme: Option<String>,
}

impl From<ProfileSummary> for ProfileAnswer {
    fn from(profile: ProfileSummary) -> Self {
        let state = profile.state;
        Self {
            profile_id: profile.profile_id.to_string(),
            username: state.username.map(|field| field.value),
            display_name: state.display_name.map(|field| field.value),
            bio: state.bio.map(|field| field.value),
            avatar_url: state.avatar_url.and_then(|field| field.value),
            theme: state.theme.map(|field| field.value),
        }
    }
}

/// `GET /api/v1/profiles`
pub(crate) async fn profiles<S: EventStore + 'static>(
    State(console): Shared<S>,
    RawQuery(query): RawQuery,
) -> Result<Json<Profiles>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["after", "limit"])?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let after = asked.get("after").map(ProfileId::new).transpose();
    let after = after.map_err(|error| Problem::invalid_parameter("after", error.0))?;
    // One more than asked for tells whether there is a next page.
    let mut rows = console.store.profiles(after.as_ref(), limit.saturating_add(1)).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| last.profile_id.to_string());
    Ok(Json(Profiles { profiles: rows.into_iter().map(ProfileAnswer::from).collect(), next }))
}

/// The profile that the path names. A name that no profile can have is one that nobody has.
pub(crate) async fn profile_of<S: EventStore>(
    store: &S,
    id: GivenId,
) -> Result<ProfileSummary, Problem> {
    let Path(id) = id.map_err(|_| Problem::profile_not_found())?;
    let id = ProfileId::new(&id).map_err(|_| Problem::profile_not_found())?;
    store.profile(&id).await?.ok_or_else(Problem::profile_not_found)
}

/// `GET /api/v1/profiles/{id}/analytics`
pub(crate) async fn analytics<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<Analytics>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["period", "from", "to", "granularity"])?;
    let (period, granularity) = (asked.period((console.now)())?, asked.granularity()?);
    let profile = profile_of(&console.store, id).await?.profile_id;
    let hours = console.store.hours(&profile, period.from, period.to).await?;
    let (first, end) = period.days();
    let visitors = console.store.profile_visitors(&profile, first, end).await?;
    Ok(Json(treehook_event::analytics(&profile, period, granularity, &hours, &visitors)))
}

/// Links of a profile.
#[derive(Serialize)]
pub(crate) struct LinksAnswer {
    profile_id: String,
    start: String,
    end: String,
    /// How many there are, those included that `limit` cut off.
    links_total: usize,
    links: Vec<LinkReport>,
}

/// `GET /api/v1/profiles/{id}/links`
pub(crate) async fn links<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<LinksAnswer>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["period", "from", "to", "sort", "limit"])?;
    let (period, sort) = (asked.period((console.now)())?, asked.sort()?);
    let limit = asked.limit(LIST, console.limits.list_max)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let hours = console.store.hours(&profile, period.from, period.to).await?;
    let views = hours.iter().map(|hour| hour.views).sum();
    let totals = console.store.link_totals(&profile, period.from, period.to).await?;
    let (first, end) = period.days();
    let visitors = console.store.link_visitors(&profile, first, end).await?;
    let mut links = treehook_event::links(totals, visitors, views, sort);
    let links_total = links.len();
    cut(&mut links, limit);
    let (start, end) = bounds(period);
    Ok(Json(LinksAnswer { profile_id: profile.to_string(), start, end, links_total, links }))
}

/// Where a profile's clicks came from.
#[derive(Serialize)]
pub(crate) struct AudienceAnswer {
    profile_id: String,
    start: String,
    end: String,
    #[serde(flatten)]
    audience: CutAudience,
}

/// An audience within a limit, and how much there is beyond it.
#[derive(Serialize)]
pub(crate) struct CutAudience {
    locations_total: usize,
    referrers_total: usize,
    #[serde(flatten)]
    pub(crate) audience: Audience,
}

impl CutAudience {
    /// Percentages stay those of all clicks.
    pub(crate) fn of(mut audience: Audience, limit: u32) -> Self {
        let (locations_total, referrers_total) =
            (audience.locations.len(), audience.referrers.len());
        cut::<Location>(&mut audience.locations, limit);
        cut::<Referrer>(&mut audience.referrers, limit);
        Self { locations_total, referrers_total, audience }
    }
}

/// `GET /api/v1/profiles/{id}/audience`
pub(crate) async fn audience<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<AudienceAnswer>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["period", "from", "to", "limit"])?;
    let period = asked.period((console.now)())?;
    let limit = asked.limit(LIST, console.limits.list_max)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let (first, last) = period.days();
    let counts = console.store.audience(&profile, first, last).await?;
    let audience = CutAudience::of(treehook_event::audience(&counts), limit);
    let (start, end) = bounds(period);
    Ok(Json(AudienceAnswer { profile_id: profile.to_string(), start, end, audience }))
}

/// Milestones of a profile, latest first.
#[derive(Serialize)]
pub(crate) struct Milestones {
    profile_id: String,
    milestones: Vec<MilestoneAnswer>,
}

/// A threshold that was reached.
#[derive(Serialize)]
pub(crate) struct MilestoneAnswer {
    pub(crate) link_id: Option<String>,
    pub(crate) metric: Option<String>,
    pub(crate) threshold: Option<i64>,
    pub(crate) value: Option<i64>,
    pub(crate) at: String,
}

impl From<MilestoneRow> for MilestoneAnswer {
    fn from(row: MilestoneRow) -> Self {
        Self {
            link_id: row.milestone.link_id.map(|link| link.to_string()),
            metric: row.milestone.metric,
            threshold: row.milestone.threshold,
            value: row.milestone.value,
            at: row.at.to_rfc3339(),
        }
    }
}

/// `GET /api/v1/profiles/{id}/milestones`
pub(crate) async fn milestones<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<Milestones>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["limit"])?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let rows = console.store.milestones(&profile, limit).await?;
    let milestones = rows.into_iter().map(MilestoneAnswer::from).collect();
    Ok(Json(Milestones { profile_id: profile.to_string(), milestones }))
}

/// `GET /api/v1/status`
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

pub(crate) fn cut<T>(rows: &mut Vec<T>, limit: u32) {
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
}

/// First moment and end of a period, RFC 3339.
fn bounds(period: Period) -> (String, String) {
    let text = |hour: Hour| hour.start().to_rfc3339().replace(".000Z", "Z");
    (text(period.from), text(period.to))
}
