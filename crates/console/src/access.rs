//! Who may read: anybody on this machine, whoever holds the token, or nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use treehook_event::Timestamp;

use crate::console::Console;
use crate::problem::Problem;

/// The cookie that stands for the token in a browser.
pub(crate) const COOKIE_NAME: &str = "treehook_session";
/// How long a sign-in lasts: a working week and its weekend.
pub(crate) const SESSION_SECONDS: i64 = 7 * 24 * 3600;

/// Who may read the API and the dashboard.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anybody who reaches it: the listener is on loopback and no token is set.
    Open,
    /// Whoever holds the token.
    Token(Token),
    /// Nobody: the listener is reachable from other machines and no token is set.
    Closed,
}

/// The API token, kept only as what is needed to recognise it. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
    sessions: Hmac<Sha256>,
}

/// A token that no request could ever present. Never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API token must be 1 to 1,024 visible ASCII characters without spaces")]
pub struct BadToken;

impl Access {
    /// What follows from the configured token and where the listener is bound.
    pub fn of(token: Option<&str>, listener: SocketAddr) -> Result<Self, BadToken> {
        match token {
            Some(token) => Token::new(token).map(Self::Token),
            None if listener.ip().to_canonical().is_loopback() => Ok(Self::Open),
            None => Ok(Self::Closed),
        }
    }

    /// Whether anything but a refusal can come back at all.
    fn reachable(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        match self {
            Self::Token(_) => Ok(()),
            Self::Open if host_is_literal(headers, uri) => Ok(()),
            Self::Open => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "without TREEHOOK_API_TOKEN this answers to `localhost` and to IP addresses only; \
                 set the token to use another host name",
            )),
            Self::Closed => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "console_closed",
                "this listener is reachable from other machines and no token is set: set \
                 TREEHOOK_API_TOKEN, or bind TREEHOOK_ADMIN_LISTEN to 127.0.0.1",
            )),
        }
    }

    /// Whether this request may read.
    pub(crate) fn admits(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        match self {
            Self::Open => true,
            Self::Token(token) => token.admits(headers, now),
            Self::Closed => false,
        }
    }
}

/// Whether the request names no host that could be somebody else's: a page elsewhere can point its
/// own name at 127.0.0.1 and read an open console through the visitor's browser (DNS rebinding),
/// but it cannot make the browser send an address or `localhost` as the host.
fn host_is_literal(headers: &HeaderMap, uri: &Uri) -> bool {
    let authority = match headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(axum::http::uri::Authority::as_str),
    };
    let Some(authority) = authority else {
        // No browser leaves the host out; garbage in its place is nobody we know.
        return !headers.contains_key(HOST);
    };
    let Ok(parsed) = authority.parse::<axum::http::uri::Authority>() else { return false };
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

impl Token {
    /// Takes the configured token.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        if token.is_empty() || token.len() > 1024 || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadToken);
        }
        let mut sessions =
            Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes any key");
        // Sets this use of the token apart from any other that may come.
        sessions.update(b"treehook console session v1\0");
        Ok(Self { digest: Sha256::digest(token).into(), sessions })
    }

    /// Compares digests, so that neither content nor length of the token shows in the time taken.
    pub(crate) fn is(&self, candidate: &[u8]) -> bool {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        candidate.ct_eq(&self.digest).into()
    }

    /// What a browser that has signed in carries: when it ends, and our word for it.
    pub(crate) fn session(&self, now: Timestamp) -> String {
        let expires = (now.as_seconds() + SESSION_SECONDS).to_string();
        let mac = self.sessions.clone().chain_update(&expires).finalize().into_bytes();
        format!("{expires}.{}", hex::encode(mac))
    }

    fn honours(&self, session: &str, now: Timestamp) -> bool {
        let Some((expires, mac)) = session.split_once('.') else { return false };
        let mut claimed = [0; 32];
        if hex::decode_to_slice(mac, &mut claimed).is_err() {
            return false;
        }
        let genuine = self.sessions.clone().chain_update(expires).verify_slice(&claimed).is_ok();
        genuine && expires.parse::<i64>().is_ok_and(|expires| now.as_seconds() < expires)
    }

    /// The header decides where there is one; the cookie speaks for browsers alone.
    fn admits(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        match (authorizations.next(), authorizations.next()) {
            (Some(value), None) => bearer(value.as_bytes()).is_some_and(|token| self.is(token)),
            (Some(_), Some(_)) => false,
            (None, _) => cookies(headers).any(|session| self.honours(session, now)),
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The credentials of an `Authorization` header of the scheme `Bearer`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Every value of our cookie: a browser may hold another port's beside ours.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// Refuses everybody while the console is closed, and foreign host names while it is open.
pub(crate) async fn reachable<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    request: Request,
    next: Next,
) -> Response {
    match console.access.reachable(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses whoever does not hold the token.
pub(crate) async fn authorized<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    request: Request,
    next: Next,
) -> Response {
    if console.access.admits(request.headers(), (console.now)()) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_follows_from_token_and_listener() {
        for (token, listener, name) in [
            (None, "127.0.0.1:9090", "Open"),
            (None, "[::1]:9090", "Open"),
            (None, "[::ffff:127.0.0.1]:9090", "Open"),
            (None, "0.0.0.0:9090", "Closed"),
            (None, "[::]:9090", "Closed"),
            (None, "192.0.2.7:9090", "Closed"),
            (Some("t0ken"), "0.0.0.0:9090", "Token(Token(..))"),
            (Some("t0ken"), "127.0.0.1:9090", "Token(Token(..))"),
        ] {
            let access = Access::of(token, listener.parse().unwrap()).unwrap();
            assert_eq!(format!("{access:?}"), name, "{token:?} {listener}");
        }
        for token in ["", "two words", "tökén", "line\n", &"x".repeat(1025)] {
            assert_eq!(Token::new(token).err(), Some(BadToken), "{token:?}");
        }
    }

    #[test]
    fn a_session_ends_and_cannot_be_made_without_the_token() {
        let (token, other) = (Token::new("right").unwrap(), Token::new("wrong").unwrap());
        let now = Timestamp::from_seconds(1_000_000);
        let later = |seconds: i64| now.plus_millis(seconds * 1000);
        let session = token.session(now);
        assert!(token.honours(&session, later(SESSION_SECONDS - 1)));
        assert!(!token.honours(&session, later(SESSION_SECONDS)));
        assert!(!other.honours(&session, now));
        let (_, mac) = session.split_once('.').unwrap();
        for forged in ["", ".", "9", &format!("9999999999.{mac}"), &format!("{session}00")] {
            assert!(!token.honours(forged, now), "{forged}");
        }
    }

    #[test]
    fn an_open_console_answers_to_addresses_and_localhost_only() {
        for (host, fits) in [
            (Some("localhost:9090"), true),
            (Some("LOCALHOST"), true),
            (Some("127.0.0.1:9090"), true),
            (Some("[::1]:9090"), true),
            (None, true),
            (Some("evil.example:9090"), false),
            (Some("localhost.evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().unwrap());
            }
            assert_eq!(host_is_literal(&headers, &Uri::from_static("/")), fits, "{host:?}");
        }
    }
}
