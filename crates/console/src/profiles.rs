//! Profiles: which there are, what events have told of them, and what they have reached.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use treehook_event::{EventStore, MilestoneRow, ProfileId, ProfileSummary};
use utoipa::ToSchema;

use crate::console::Console;
use crate::fresh::Fresh;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::window::OPEN_SECONDS;

/// Rows in an answer when nobody says how many: what people look at, and programs page through.
pub(crate) const PAGE: u32 = 100;

pub(crate) type Shared<S> = State<Arc<Console<S>>>;
pub(crate) type GivenId = Result<Path<String>, PathRejection>;

/// A page of profiles, in order of id.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfilePage {
    profiles: Vec<KnownProfile>,
    /// What `after` takes to get the next page; null on the last one.
    next: Option<String>,
}

/// A profile and what events have told of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct KnownProfile {
    profile_id: String,
    username: Option<String>,
    display_name: Option<String>,
    bio: Option<String>,
    avatar_url: Option<String>,
    theme: Option<String>,
}

impl From<ProfileSummary> for KnownProfile {
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

/// Profiles in order of id, a page at a time
#[utoipa::path(
    get, path = "/api/v1/profiles", operation_id = "listProfiles",
    params(
        ("after" = Option<String>, Query, min_length = 1, max_length = 200, description = "The `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "100 without it"),
    ),
    responses((status = 200, description = "A page", body = ProfilePage)),
)]
pub(crate) async fn profiles<S: EventStore + 'static>(
    State(console): Shared<S>,
    RawQuery(query): RawQuery,
) -> Result<Fresh<ProfilePage>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["after", "limit"])?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let after = asked.after(|text| ProfileId::new(text).ok())?;
    // One more than asked for tells whether there is a next page.
    let mut rows = console.store.profiles(after.as_ref(), limit.saturating_add(1)).await?;
    let more = cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|last| last.profile_id.to_string());
    let profiles = rows.into_iter().map(KnownProfile::from).collect();
    Ok(Fresh { seconds: OPEN_SECONDS, body: ProfilePage { profiles, next } })
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

/// Milestones of a profile, latest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Milestones {
    profile_id: String,
    milestones: Vec<Milestone>,
}

/// A threshold that was reached.
#[derive(Serialize, ToSchema)]
pub(crate) struct Milestone {
    /// Of which link; null means the whole profile.
    pub(crate) link_id: Option<String>,
    /// `clicks` or `views`.
    pub(crate) metric: Option<String>,
    /// The number that was to be reached.
    pub(crate) threshold: Option<i64>,
    /// The number when the platform looked.
    pub(crate) value: Option<i64>,
    /// When.
    #[schema(format = "date-time")]
    pub(crate) at: String,
}

impl From<MilestoneRow> for Milestone {
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

/// Milestones, latest first
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/milestones", operation_id = "listMilestones",
    params(
        ("id" = String, Path, min_length = 1),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "100 without it"),
    ),
    responses((status = 200, description = "The milestones", body = Milestones)),
)]
pub(crate) async fn milestones<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<Milestones>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["limit"])?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let rows = console.store.milestones(&profile, limit).await?;
    let milestones = rows.into_iter().map(Milestone::from).collect();
    let body = Milestones { profile_id: profile.to_string(), milestones };
    Ok(Fresh { seconds: OPEN_SECONDS, body })
}

/// Keeps as many as `limit` says; whether there were more.
pub(crate) fn cut<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}
