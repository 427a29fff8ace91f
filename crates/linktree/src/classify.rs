//! What statuses, headers and the HTTP client's own errors mean.

use std::error::Error as _;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::error::ApiError;

/// Longest text of another's that is shown, in characters.
const LONGEST_DETAIL: usize = 200;

/// What the HTTP client met.
pub(crate) fn of_transport(error: &reqwest::Error, timeout: Duration) -> ApiError {
    if error.is_timeout() {
        return ApiError::TimedOut(timeout);
    }
    // The error itself only says that sending failed; what lies under it says why.
    let mut detail = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !detail.is_empty() {
            detail.push_str(": ");
        }
        detail.push_str(&inner.to_string());
        cause = inner.source();
    }
    if detail.is_empty() {
        detail.push_str("the connection broke");
    }
    ApiError::Unreachable(shown(&detail))
}

/// What a status means, if it is not a success.
pub(crate) fn of_status(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), ApiError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        code @ (401 | 403) => Err(ApiError::TokenRefused(code)),
        404 => Err(ApiError::NotFound),
        429 => Err(ApiError::RateLimited { retry_after: retry_after(headers) }),
        code @ 500..=599 => Err(ApiError::Server(code)),
        status => Err(ApiError::Refused { status, detail: detail_of(body) }),
    }
}

/// Seconds, or a date: that one is held against the answer's own date, so that no clock of ours,
/// right or wrong, comes into it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let said_at = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(until.duration_since(said_at).unwrap_or_default())
}

/// What the answer says of the refusal, where APIs commonly say it.
fn detail_of(body: &[u8]) -> String {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/error/message", "/message", "/detail", "/error", "/title"];
    let said = places.iter().find_map(|place| parsed.pointer(place)?.as_str());
    said.map_or_else(|| "without a word of explanation".to_owned(), shown)
}

/// Another's text made fit for a terminal and a log line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ApiError {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), reqwest::header::HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap();
        of_status(status, &headers.collect(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn statuses_have_their_meaning() {
        for (status, outcome, again, unwell) in [
            (302, "refused", false, false),
            (400, "refused", false, false),
            (401, "token_refused", false, false),
            (403, "token_refused", false, false),
            (404, "not_found", false, false),
            (422, "refused", false, false),
            (429, "rate_limited", true, true),
            (500, "server_error", true, true),
            (503, "server_error", true, true),
        ] {
            let error = classified(status, &[], "");
            assert_eq!(error.outcome(), outcome, "{status}");
            assert_eq!(error.is_worth_another_try(), again, "{status}");
            assert_eq!(error.counts_against_the_service(), unwell, "{status}");
        }
        assert_eq!(of_status(StatusCode::NO_CONTENT, &HeaderMap::new(), b""), Ok(()));
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_date() {
        let date = ("date", "Tue, 24 Nov 2026 07:05:20 GMT");
        for (headers, seconds) in [
            (&[("retry-after", "7")][..], Some(7)),
            (&[("retry-after", "Tue, 24 Nov 2026 07:05:50 GMT"), date], Some(30)),
            // Already over.
            (&[("retry-after", "Tue, 24 Nov 2026 07:05:10 GMT"), date], Some(0)),
            // Nothing to hold it against.
            (&[("retry-after", "Tue, 24 Nov 2026 07:05:50 GMT")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[], None),
        ] {
            let retry_after = seconds.map(Duration::from_secs);
            assert_eq!(classified(429, headers, ""), ApiError::RateLimited { retry_after });
        }
    }

    #[test]
    fn a_refusal_says_why_within_bounds() {
        let long = format!("{{\"message\": \"{}\\u001b[31m\"}}", "x".repeat(300));
        for (body, detail) in [
            ("{\"error\": {\"message\": \"url is not https\"}}", "url is not https"),
            ("{\"detail\": \"no such event\"}", "no such event"),
            ("<html>", "without a word of explanation"),
            (long.as_str(), &"x".repeat(200)),
        ] {
            let refused = ApiError::Refused { status: 422, detail: detail.to_owned() };
            assert_eq!(classified(422, &[], body), refused);
        }
    }
}
