//! Reads and their bounds: few at a time, none for ever, and the same answer only once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;
use treehook_event::Timestamp;

use crate::console::Console;
use crate::fresh::{tag_of, unless_held};
use crate::problem::Problem;

/// Largest answer that is kept: a report of ninety days and a few hundred links.
const KEPT_BYTES_MAX: usize = 128 * 1024;
/// Longest path and query that an answer is kept under: an id and every parameter, with room.
const KEY_BYTES_MAX: usize = 1024;

/// Waits for a turn at the store, and gives up on a store that does not answer.
pub(crate) async fn in_turn<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    request: Request,
    next: Next,
) -> Response {
    let turn = async {
        let _permit = console.reads.acquire().await.expect("the semaphore is never closed");
        next.run(request).await
    };
    timeout(console.limits.read_timeout, turn)
        .await
        .unwrap_or_else(|_| Problem::store_unavailable().into_response())
}

/// Answers what was just answered, from memory, and nothing at all to a client that holds the
/// answer. Stands behind the check of the token.
pub(crate) async fn cached<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let asked = request.headers().clone();
    let key = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let now = (console.now)();
    if let Some((headers, body)) = console.cache.find(&key, now) {
        return unless_held(&asked, headers, body);
    }
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("answers are made in memory");
    parts.headers.insert(ETAG, tag_of(&body));
    console.cache.keep(key, now, &parts.headers, &body);
    unless_held(&asked, parts.headers, body)
}

/// Answers of the last moments, by path and query.
pub(crate) struct Cache {
    entries: usize,
    fresh_for: Duration,
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    at: Timestamp,
    headers: HeaderMap,
    body: Bytes,
}

impl Cache {
    pub(crate) fn new(entries: usize, fresh_for: Duration) -> Self {
        Self { entries, fresh_for, kept: Mutex::default() }
    }

    fn find(&self, key: &str, now: Timestamp) -> Option<(HeaderMap, Bytes)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.get(key).filter(|answer| self.is_fresh(answer, now))?;
        Some((answer.headers.clone(), answer.body.clone()))
    }

    fn keep(&self, key: String, now: Timestamp, headers: &HeaderMap, body: &Bytes) {
        let too_large = body.len() > KEPT_BYTES_MAX || key.len() > KEY_BYTES_MAX;
        if self.entries == 0 || self.fresh_for.is_zero() || too_large {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, answer| self.is_fresh(answer, now));
        if kept.len() >= self.entries
            && let Some(oldest) =
                kept.iter().min_by_key(|(_, answer)| answer.at).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(key, Kept { at: now, headers: headers.clone(), body: body.clone() });
    }

    /// A clock that was set back makes an answer stale, never fresh for ever.
    fn is_fresh(&self, answer: &Kept, now: Timestamp) -> bool {
        u128::try_from(now.millis_since(answer.at))
            .is_ok_and(|age| age < self.fresh_for.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_while_fresh_and_the_oldest_makes_room() {
        let cache = Cache::new(2, Duration::from_millis(100));
        let at = Timestamp::from_millis;
        let keep = |key: &str, now| {
            cache.keep(key.to_owned(), at(now), &HeaderMap::new(), &Bytes::from_static(b"{}"));
        };
        keep("a", 0);
        keep("b", 10);
        keep("c", 20);
        for (key, now, found) in [
            ("a", 20, false),
            ("b", 20, true),
            ("c", 119, true),
            ("c", 120, false),
            ("c", 19, false),
        ] {
            assert_eq!(cache.find(key, at(now)).is_some(), found, "{key} at {now}");
        }
    }

    #[test]
    fn a_large_answer_is_not_kept() {
        let cache = Cache::new(2, Duration::from_secs(1));
        let large = Bytes::from(vec![b' '; KEPT_BYTES_MAX + 1]);
        cache.keep("a".to_owned(), Timestamp::default(), &HeaderMap::new(), &large);
        assert!(cache.find("a", Timestamp::default()).is_none());
    }
}
