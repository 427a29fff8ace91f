//! What the console answers when it has no answer: problem details (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::warn;
use treehook_event::{Failure, PeriodError};
use utoipa::ToSchema;

/// Longest parameter name that is echoed, in characters: it is the client's text.
const LONGEST_NAME: usize = 60;

/// One problem. `code` is for programs and never changes, `detail` is for people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: `code` says which.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// For programs; never changes.
    code: &'static str,
    /// For people.
    detail: String,
    /// The parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            parameter: None,
        }
    }

    pub(crate) fn invalid_parameter(name: &str, problem: &str) -> Self {
        let name = printable(name);
        let detail = format!("`{name}`: {problem}");
        Self {
            parameter: Some(name),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail)
        }
    }

    pub(crate) fn profile_not_found() -> Self {
        let detail = "no event has named this profile; /api/v1/profiles lists those that are known";
        Self::new(StatusCode::NOT_FOUND, "profile_not_found", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer <TREEHOOK_API_TOKEN>`, or sign in at `/`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn store_unavailable() -> Self {
        let detail = "the database does not answer; try again in a few seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }
}

/// A client's text, fit to be shown.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

impl From<PeriodError> for Problem {
    fn from(error: PeriodError) -> Self {
        Self::invalid_parameter(error.parameter, &error.problem)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause();
        warn!(reason = cause.reason, "the store cannot answer: {}", cause.detail);
        match failure {
            // Fatal too: somebody has to act, and then the same request succeeds.
            Failure::Transient(_) | Failure::Fatal(_) => Self::store_unavailable(),
            Failure::Poison(_) => {
                let detail = "what is stored cannot be read; the log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_unreadable", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("made from a status code");
        let body = serde_json::to_vec(&self).expect("strings and a number are always JSON");
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
