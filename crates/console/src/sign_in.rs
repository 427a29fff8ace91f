//! Signing in with a browser, which cannot send a bearer token by itself.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::{sleep, timeout};
use tracing::warn;
use url::form_urlencoded;

use crate::access::{Access, COOKIE_NAME, SESSION_SECONDS};
use crate::assets;
use crate::console::Console;
use crate::problem::Problem;

/// The form holds one token of at most 1,024 characters, each of which may be written as three.
const FORM_MAX: usize = 4096;

/// Takes the form: the right token earns the cookie, a wrong one waits.
pub(crate) async fn sign_in<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Access::Token(token) = &console.access else {
        return Ok(home(None));
    };
    let given = given_token(&console, body).await?;
    // Held while a wrong attempt waits: that many guesses per delay, and no more.
    let Ok(_permit) = console.sign_ins.try_acquire() else {
        let detail = "too many people are signing in; try again in a few seconds";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail));
    };
    if token.is(given.as_bytes()) {
        let session = token.session((console.now)());
        return Ok(home(Some(cookie(&session, SESSION_SECONDS, &headers))));
    }
    warn!("a sign-in with a wrong token was refused");
    sleep(console.limits.sign_in_delay).await;
    Ok(assets::sign_in_page(true))
}

async fn given_token<S>(console: &Console<S>, body: Body) -> Result<String, Problem> {
    let form = match timeout(console.limits.read_timeout, to_bytes(body, FORM_MAX)).await {
        Ok(Ok(form)) => form,
        Ok(Err(_)) => {
            let detail = "the form is too large, or was cut off";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_form", detail));
        }
        Err(_) => {
            let detail = "the form did not arrive in time";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail));
        }
    };
    form_urlencoded::parse(&form)
        .find(|(name, _)| name == "token")
        // People paste tokens with the end of the line.
        .map(|(_, value)| value.trim().to_owned())
        .ok_or_else(|| Problem::invalid_parameter("token", "is missing"))
}

/// Forgets the cookie.
pub(crate) async fn sign_out(headers: HeaderMap) -> Response {
    let forgotten = headers.contains_key(COOKIE).then(|| cookie("", 0, &headers));
    home(forgotten)
}

fn cookie(value: &str, seconds: i64, headers: &HeaderMap) -> String {
    // Behind a proxy that ends TLS the cookie must not travel without it. Whoever forges this header
    // only makes their own cookie stricter.
    let https = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if https { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// Back to the dashboard. Relative, so that a proxy may put us below a path.
fn home(cookie: Option<String>) -> Response {
    let cookie = cookie.map(|cookie| [(SET_COOKIE, cookie)]);
    (StatusCode::SEE_OTHER, [(LOCATION, "./")], cookie, ()).into_response()
}
