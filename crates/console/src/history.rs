//! The life of a profile's links: who changed what, and when, as the archive tells it.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::warn;
use treehook_event::{Body, EventStore, HistoryRow, Key, Subjects, Timestamp};
use utoipa::ToSchema;

use crate::fresh::Fresh;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::profiles::{GivenId, PAGE, Shared, cut, profile_of};
use crate::window::OPEN_SECONDS;

/// A page of a profile's history, latest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    profile_id: String,
    history: Vec<Change>,
    /// What `after` takes to get the next page; null on the last one.
    next: Option<String>,
}

/// One change.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    /// When, by the event's own time.
    #[schema(format = "date-time")]
    at: String,
    /// Who told.
    source: String,
    /// The event's identity at its source.
    event_id: String,
    /// `link.created`, `link.updated`, `link.deleted` or `profile.updated`.
    #[serde(rename = "type")]
    event_type: String,
    /// Which link; null for the profile itself.
    link_id: Option<String>,
    /// The fields that the event named, with their new values; null when this version cannot read
    /// what the archive holds.
    #[schema(value_type = Option<Object>)]
    changes: Option<Map<String, Value>>,
}

impl From<HistoryRow> for Change {
    fn from(row: HistoryRow) -> Self {
        Self {
            at: row.at.to_rfc3339(),
            source: row.source.to_string(),
            event_id: row.identity.to_string(),
            event_type: row.event_type.to_string(),
            link_id: row.link_id.map(|link| link.to_string()),
            changes: changes(&row.detail),
        }
    }
}

/// The fields of an archived body. Whose they are stands beside them, and is not repeated.
fn changes(detail: &str) -> Option<Map<String, Value>> {
    let fields = match serde_json::from_str::<Body>(detail) {
        Ok(Body::Link(change)) => serde_json::to_value(change.fields),
        Ok(Body::Profile(fields)) => serde_json::to_value(fields),
        Ok(
            Body::Visit(_)
            | Body::Milestone(_)
            | Body::Unknown { .. }
            | Body::Unfit { .. }
            | Body::Statement(_),
        ) => {
            return None;
        }
        Err(error) => {
            // The position alone: the error's text may quote the event.
            let (line, column) = (error.line(), error.column());
            warn!(line, column, "a change in the archive cannot be read");
            return None;
        }
    };
    match fields.expect("fields have only text as keys") {
        Value::Object(mut fields) => {
            fields.remove("profile_id");
            Some(fields)
        }
        _ => None,
    }
}

/// Changes of links and of the profile itself, latest first
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/history", operation_id = "listHistory",
    params(
        ("id" = String, Path, min_length = 1),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]{1,19}[.][0-9a-fA-F]{32}$", description = "The `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "100 without it"),
    ),
    responses((status = 200, description = "A page", body = HistoryPage)),
)]
pub(crate) async fn history<S: EventStore + Subjects + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Fresh<HistoryPage>, Problem> {
    let asked = Parameters::read(query.as_deref(), &["after", "limit"])?;
    let limit = asked.limit(PAGE, console.limits.page_max)?;
    let after = asked.after(place)?;
    let profile = profile_of(&console.store, id).await?.profile_id;
    let mut rows = console.store.history(&profile, after, limit.saturating_add(1)).await?;
    let more = cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(cursor);
    let history = rows.into_iter().map(Change::from).collect();
    let body = HistoryPage { profile_id: profile.to_string(), history, next };
    Ok(Fresh { seconds: OPEN_SECONDS, body })
}

/// A row's place in the list, as text.
fn cursor(row: &HistoryRow) -> String {
    format!("{}.{}", row.at.as_millis(), hex::encode(row.key.0))
}

/// The place, read back.
fn place(cursor: &str) -> Option<(Timestamp, Key)> {
    let (millis, key) = cursor.split_once('.')?;
    Some((Timestamp::from_millis(millis.parse().ok()?), Key::from_hex(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_the_fields_that_the_event_named() {
        for (detail, shown) in [
            (
                r#"{"link":{"change":"updated","profile_id":"p","link_id":"l","fields":{"title":"New","url":null}}}"#,
                Some(r#"{"title":"New","url":null}"#),
            ),
            (
                r#"{"link":{"change":"deleted","profile_id":"p","link_id":"l","fields":{}}}"#,
                Some("{}"),
            ),
            (r#"{"profile":{"profile_id":"p","bio":"Hello"}}"#, Some(r#"{"bio":"Hello"}"#)),
            (r#"{"unknown":{"event_type":"lead.created"}}"#, None),
            ("", None),
        ] {
            let changes = changes(detail).map(|fields| Value::Object(fields).to_string());
            assert_eq!(changes.as_deref(), shown, "{detail}");
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let (at, key) = place("-5.000102030405060708090a0b0c0d0e0f").unwrap();
        assert_eq!((at.as_millis(), key.0[15]), (-5, 15));
        for wrong in ["", "5", ".", "5.00", "x.000102030405060708090a0b0c0d0e0f"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
