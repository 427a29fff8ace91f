//! Dead letters over HTTP: list, show, redrive, discard.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tracing::{info, warn};
use treehook_event::{DeadFilter, EventStore, Failure, Key};
use utoipa::ToSchema;

use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::profiles::{GivenId, PAGE, Shared, cut};

/// A page of dead letters, in order of id.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    /// What `after` takes to get the next page; null on the last one.
    next: Option<String>,
}

/// An event that could not be counted as it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// 32 hexadecimal digits.
    id: String,
    /// Who sent the event.
    source: String,
    /// The event's identity at its source.
    event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    event_type: String,
    /// The profile that it names; null where it names none.
    profile_id: Option<String>,
    /// As `missing_field:link_id`, `future_timestamp`, `expired` or `delivery_limit`.
    reason: String,
    /// The event time.
    #[schema(format = "date-time")]
    occurred_at: String,
    /// When it was buried first.
    #[schema(format = "date-time")]
    first_at: String,
    /// When it was buried last.
    #[schema(format = "date-time")]
    last_at: String,
    /// How often it was buried, redrives included.
    attempts: u32,
}

impl From<&treehook_event::DeadLetter> for DeadLetter {
    fn from(letter: &treehook_event::DeadLetter) -> Self {
        Self {
            id: letter.id(),
            source: letter.source.to_string(),
            event_id: letter.identity.to_string(),
            event_type: letter.event_type.to_string(),
            profile_id: letter.profile_id.as_ref().map(ToString::to_string),
            reason: letter.reason.clone(),
            occurred_at: letter.occurred_at.to_rfc3339(),
            first_at: letter.first_at.to_rfc3339(),
            last_at: letter.last_at.to_rfc3339(),
            attempts: letter.attempts,
        }
    }
}

/// Dead letters in order of id, a page at a time
#[utoipa::path(
    get, path = "/api/v1/dead-letters", operation_id = "listDeadLetters",
    params(
        ("reason" = Option<String>, Query, min_length = 1, description = "The whole reason, or what stands before its colon"),
        ("source" = Option<String>, Query, min_length = 1, description = "Who sent them"),
        ("type" = Option<String>, Query, min_length = 1, description = "The event type"),
        ("profile" = Option<String>, Query, min_length = 1, description = "The profile that they name"),
        ("after" = Option<String>, Query, pattern = "^[0-9a-fA-F]{32}$", description = "The `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "100 without it"),
    ),
    responses((status = 200, description = "A page", body = DeadLetters)),
)]
pub(crate) async fn list<S: EventStore + 'static>(
    State(console): Shared<S>,
    RawQuery(query): RawQuery,
) -> Result<Json<DeadLetters>, Problem> {
    let known = ["reason", "source", "type", "profile", "after", "limit"];
    let asked = Parameters::read(query.as_deref(), &known)?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let text = |name| asked.get(name).map(ToOwned::to_owned);
    let filter = DeadFilter {
        reason: text("reason"),
        source: text("source"),
        event_type: text("type"),
        profile: text("profile"),
        after: asked.after(Key::from_hex)?,
        limit: limit.saturating_add(1),
        ..DeadFilter::default()
    };
    let mut letters = console.store.dead_letters(&filter).await?;
    let more = cut(&mut letters, limit);
    let next = letters.last().filter(|_| more).map(treehook_event::DeadLetter::id);
    Ok(Json(DeadLetters { dead_letters: letters.iter().map(DeadLetter::from).collect(), next }))
}

/// One dead letter, with its event.
#[derive(Serialize, ToSchema)]
pub(crate) struct WholeDeadLetter {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The event in CloudEvents' JSON format, personal data removed; text where it is not JSON.
    event: Value,
}

/// One dead letter, with its event
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}", operation_id = "getDeadLetter",
    params(("id" = String, Path, pattern = "^[0-9a-fA-F]{32}$")),
    responses((status = 200, description = "The dead letter", body = WholeDeadLetter)),
)]
pub(crate) async fn show<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<WholeDeadLetter>, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let letter = find(&console.store, id).await?;
    // What cannot be parsed is what somebody wants to look at.
    let event =
        serde_json::from_str(&letter.event).unwrap_or_else(|_| Value::String(letter.event.clone()));
    Ok(Json(WholeDeadLetter { letter: DeadLetter::from(&letter), event }))
}

async fn find<S: EventStore>(
    store: &S,
    id: GivenId,
) -> Result<treehook_event::DeadLetter, Problem> {
    let key = id.ok().and_then(|Path(id)| Key::from_hex(&id)).ok_or_else(not_found)?;
    let filter = DeadFilter { ids: vec![key], limit: 1, ..DeadFilter::default() };
    store.dead_letters(&filter).await?.pop().ok_or_else(not_found)
}

/// How many dead letters were dealt with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Redriven {
    redriven: usize,
}

/// Publishes its event again and removes the dead letter; safe to repeat
#[utoipa::path(
    post, path = "/api/v1/dead-letters/{id}/redrive", operation_id = "redriveDeadLetter",
    params(("id" = String, Path, pattern = "^[0-9a-fA-F]{32}$")),
    responses((status = 200, description = "Its event is in the queue and counts like any delivery; one that fails again is back under the same id", body = Redriven)),
)]
pub(crate) async fn redrive<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<Redriven>, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let Some(redrive) = &console.actions.redrive else {
        let detail = "this process publishes nothing; use `treehook dead redrive`";
        return Err(Problem::new(StatusCode::CONFLICT, "redrive_unavailable", detail));
    };
    let letter = find(&console.store, id).await?;
    let (id, reason) = (letter.id(), letter.reason_label());
    redrive(vec![letter]).await.map_err(|failure| not_redriven(&failure))?;
    info!(id, reason, "a dead letter was redriven from the console");
    Ok(Json(Redriven { redriven: 1 }))
}

/// How many dead letters are gone for good.
#[derive(Serialize, ToSchema)]
pub(crate) struct Discarded {
    discarded: u64,
}

/// Removes the dead letter for good
#[utoipa::path(
    delete, path = "/api/v1/dead-letters/{id}", operation_id = "discardDeadLetter",
    params(("id" = String, Path, pattern = "^[0-9a-fA-F]{32}$")),
    responses((status = 200, description = "It is gone", body = Discarded)),
)]
pub(crate) async fn discard<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Json<Discarded>, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let letter = find(&console.store, id).await?;
    let read = (letter.key(), letter.attempts);
    let discarded = console.store.remove_dead_letters(&[read]).await?;
    if discarded == 0 {
        return Err(changed());
    }
    info!(id = letter.id(), reason = letter.reason_label(), "a dead letter was discarded");
    Ok(Json(Discarded { discarded }))
}

fn not_found() -> Problem {
    let detail = "no dead letter has this id; somebody may have dealt with it";
    Problem::new(StatusCode::NOT_FOUND, "dead_letter_not_found", detail)
}

fn changed() -> Problem {
    let detail = "it was buried again or removed meanwhile; look at it once more";
    Problem::new(StatusCode::CONFLICT, "dead_letter_changed", detail)
}

fn not_redriven(failure: &Failure) -> Problem {
    let cause = failure.cause();
    warn!(reason = cause.reason, "a dead letter was not redriven: {}", cause.detail);
    match failure {
        Failure::Transient(_) | Failure::Fatal(_) => {
            let detail = "the queue does not take it now; it is still here, try again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "redrive_failed", detail)
        }
        Failure::Poison(_) => {
            let detail = "its event cannot be published as it stands; the log says why";
            Problem::new(StatusCode::CONFLICT, "redrive_refused", detail)
        }
    }
}
