//! The dashboard's files, carried in the binary, and the headers that keep strangers' text harmless.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::access::Access;
use crate::console::Console;
use crate::fresh::{tag_of, unless_held};
use crate::problem::Problem;

/// Nothing but our own files, nothing inline, no other host, and nobody may frame us: a title that
/// slips through as markup still cannot run, load or submit anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Files;

/// The dashboard, or the way in.
pub(crate) async fn dashboard<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    headers: HeaderMap,
) -> Response {
    guarded("index.html", &console, &headers)
}

/// The page of dead letters, or the way in.
pub(crate) async fn dead_letters<S: Send + Sync + 'static>(
    State(console): State<Arc<Console<S>>>,
    headers: HeaderMap,
) -> Response {
    guarded("dead-letters.html", &console, &headers)
}

fn guarded<S>(name: &str, console: &Console<S>, headers: &HeaderMap) -> Response {
    if !console.access.admits(headers, (console.now)()) {
        return sign_in_page(false);
    }
    let page = page(name);
    match console.access {
        Access::Token(_) => {
            // Only whoever could sign in can sign out.
            html(StatusCode::OK, page.replace("<form hidden", "<form"))
        }
        Access::Open | Access::Closed => html(StatusCode::OK, page.into_owned()),
    }
}

/// The page that asks for the token; 401, so that no program takes it for the dashboard.
pub(crate) fn sign_in_page(refused: bool) -> Response {
    let page = page("sign-in.html");
    let page = if refused { page.replace(" hidden>", ">") } else { page.into_owned() };
    let mut response = html(StatusCode::UNAUTHORIZED, page);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn page(name: &str) -> Cow<'static, str> {
    let file = Files::get(name).expect("the pages are embedded");
    match file.data {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn html(status: StatusCode, page: String) -> Response {
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// `/assets/{name}`. Public wherever the console is: they are the same in every copy of treehook,
/// and the sign-in page needs them.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((file, kind)) = content_type(&name).and_then(|kind| Some((Files::get(&name)?, kind)))
    else {
        return not_found().await.into_response();
    };
    let mut about = HeaderMap::new();
    about.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Asked again each time, so that an upgrade shows at once; unchanged, it costs no bytes.
    about.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    about.insert(ETAG, tag_of(&file.data));
    let body = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    unless_held(&headers, about, body)
}

/// What is served under its own name: the pages are not, they have a route of their own.
fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

/// A path below ours that names nothing.
pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

/// A method that the path does not know.
pub(crate) async fn method_not_allowed() -> Problem {
    let detail = "the `Allow` header names the methods that this path knows";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Puts the protective headers on whatever is answered.
pub(crate) async fn protected(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Answers are for whoever holds the token; no proxy and no disk keeps them.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assets_stay_small_and_ask_no_other_host() {
        for name in Files::iter() {
            // Vendored as it was published, with a comment that says where.
            if name.starts_with("uplot") {
                continue;
            }
            let text = String::from_utf8(Files::get(&name).unwrap().data.into_owned()).unwrap();
            // The one address that may stand there names SVG elements and is never fetched.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(text.len() < 24 * 1024, "{name} is large");
            assert!(!text.contains("://"), "{name} names another host");
            assert!(!text.contains("innerHTML"), "{name} makes markup of text");
            assert!(!text.contains(" style=") && !text.contains(" onclick="), "{name} is inline");
        }
    }

    #[test]
    fn what_is_vendored_makes_no_markup_and_carries_its_licence() {
        let text = |name| String::from_utf8(Files::get(name).unwrap().data.into_owned()).unwrap();
        let script = text("uplot.js");
        for word in ["innerHTML", "insertAdjacent", "eval(", "new Function", "fetch("] {
            assert!(!script.contains(word), "{word}");
        }
        assert!(text("uplot-license.txt").contains("The MIT License"));
    }

    #[test]
    fn the_marks_that_the_pages_are_completed_at_are_there() {
        for name in ["index.html", "dead-letters.html"] {
            assert_eq!(page(name).matches("<form hidden").count(), 1, "{name}");
        }
        assert_eq!(page("sign-in.html").matches(" hidden>").count(), 1);
    }
}
