//! How long an answer may be kept, and how a client that kept one learns that nothing changed.

use axum::Json;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What else an answer depends on: kept by one reader, it is never given to another.
const VARIES_BY: HeaderValue = HeaderValue::from_static("authorization, cookie");

/// A JSON answer that its reader may keep for so many seconds.
pub(crate) struct Fresh<T> {
    pub(crate) seconds: u32,
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Fresh<T> {
    fn into_response(self) -> Response {
        (keep_for(self.seconds), Json(self.body)).into_response()
    }
}

/// The header that says so. Never for a proxy: answers are for whoever holds the token.
pub(crate) fn keep_for(seconds: u32) -> [(axum::http::HeaderName, HeaderValue); 2] {
    let keep = format!("private, max-age={seconds}");
    [
        (CACHE_CONTROL, HeaderValue::try_from(keep).expect("a number is visible ASCII")),
        (VARY, VARIES_BY),
    ]
}

/// The tag of these bytes. Weak, since they may travel compressed.
pub(crate) fn tag_of(body: &[u8]) -> HeaderValue {
    let digest = hex::encode(&Sha256::digest(body)[..16]);
    HeaderValue::try_from(format!("W/\"{digest}\"")).expect("hexadecimal digits are visible ASCII")
}

/// The answer, or 304 when the client holds it already. `headers` carry its tag.
pub(crate) fn unless_held(asked: &HeaderMap, headers: HeaderMap, body: Bytes) -> Response {
    let Some(tag) = headers.get(ETAG).filter(|tag| holds(asked, tag)) else {
        return (headers, body).into_response();
    };
    let mut kept = HeaderMap::new();
    kept.insert(ETAG, tag.clone());
    for name in [CACHE_CONTROL, VARY] {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    (StatusCode::NOT_MODIFIED, kept).into_response()
}

fn holds(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
    let tag = opaque(tag.as_bytes());
    asked.get_all(IF_NONE_MATCH).iter().any(|held| {
        held.as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|held| held == b"*" || opaque(held) == tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_answer_is_recognised_among_others() {
        let tag = tag_of(b"{}");
        let held = tag.to_str().unwrap().to_owned();
        let strong = held.trim_start_matches("W/").to_owned();
        for (header, found) in [
            (held.clone(), true),
            (strong, true),
            (format!("\"other\", {held}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (String::new(), false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(IF_NONE_MATCH, HeaderValue::try_from(&header).unwrap());
            assert_eq!(holds(&asked, &tag), found, "{header}");
        }
    }
}
