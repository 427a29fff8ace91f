//! Every answer but 202, as problem details (RFC 9457) with a `code` for programs.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use treehook_event::{Failure, Rejection};

/// Why a delivery is not accepted.
#[derive(Debug)]
pub(crate) enum Refusal {
    UnknownSource,
    UnsupportedEncoding,
    PayloadTooLarge { limit: usize },
    RequestTimeout,
    Rejected(Rejection),
    NotAccepting(Shortage),
    NotFound,
    MethodNotAllowed { allow: &'static str },
}

/// What is lacking for a delivery that is welcome otherwise.
#[derive(Debug)]
pub(crate) enum Shortage {
    /// Too many deliveries in flight.
    Deliveries,
    /// Too many bytes in flight.
    Memory,
    /// Neither broker nor outbox made it durable.
    Publisher(Failure),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Refusal {
    /// The `code` of the answer, and the `outcome` label of the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::Rejected(rejection) => rejection.code(),
            Self::NotAccepting(_) => "not_accepting",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSource | Self::NotFound => StatusCode::NOT_FOUND,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Rejected(rejection) => match rejection {
                Rejection::MissingSignature => StatusCode::UNAUTHORIZED,
                // Age is only looked at once the signature holds, so a forger learns nothing.
                Rejection::InvalidSignature | Rejection::StaleTimestamp => StatusCode::FORBIDDEN,
                Rejection::MalformedPayload(_) => StatusCode::BAD_REQUEST,
            },
            Self::NotAccepting(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::UnknownSource => "no source has this name".into(),
            Self::UnsupportedEncoding => "send the body as it was signed, uncompressed".into(),
            Self::PayloadTooLarge { limit } => format!("a body has at most {limit} bytes"),
            Self::RequestTimeout => "the body did not arrive in time".into(),
            Self::Rejected(rejection) => rejection.to_string(),
            // What exactly is unwell is for the operator's log.
            Self::NotAccepting(_) => "nothing is accepted at the moment; retry later".into(),
            Self::NotFound => "there is nothing here".into(),
            Self::MethodNotAllowed { allow } => format!("use {allow}"),
        }
    }

    /// The header that goes with the status, if one does.
    fn header(&self) -> Option<(header::HeaderName, &'static str)> {
        match self {
            Self::MethodNotAllowed { allow } => Some((header::ALLOW, *allow)),
            // A request finishes in milliseconds; a broker and an outbox take longer to recover.
            Self::NotAccepting(Shortage::Deliveries | Shortage::Memory) => {
                Some((header::RETRY_AFTER, "1"))
            }
            Self::NotAccepting(Shortage::Publisher(_)) => Some((header::RETRY_AFTER, "5")),
            Self::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, "identity")),
            // The rest of that body is not waited for.
            Self::PayloadTooLarge { .. } | Self::RequestTimeout => {
                Some((header::CONNECTION, "close"))
            }
            Self::UnknownSource | Self::Rejected(_) | Self::NotFound => None,
        }
    }

    /// Whether the body may be unread, and its sender is still able to send it.
    pub(crate) fn leaves_the_body(&self) -> bool {
        match self {
            Self::RequestTimeout | Self::NotFound | Self::MethodNotAllowed { .. } => false,
            Self::UnknownSource
            | Self::UnsupportedEncoding
            | Self::PayloadTooLarge { .. }
            | Self::Rejected(_)
            | Self::NotAccepting(_) => true,
        }
    }
}

/// RFC 9457. The type stays `about:blank`: the `code` is what programs go by.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'static str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.detail(),
            code: self.code(),
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if let Some((name, value)) = self.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
