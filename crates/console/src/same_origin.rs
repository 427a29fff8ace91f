//! Requests that change something come from our own page, or from no browser at all.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// Refuses what another site's page makes a browser send: the cookie would speak for it, and on an
/// open console nothing has to.
pub(crate) async fn required(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_ours(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let detail = "this comes from another site's page; use the dashboard itself, or a program with \
                  `Authorization: Bearer <TREEHOOK_API_TOKEN>`";
    Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail).into_response()
}

fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    // No page can have this sent to another origin without asking first, and nobody answers that.
    if headers.contains_key(AUTHORIZATION) {
        return true;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    match headers.get(ORIGIN) {
        Some(origin) => {
            let named = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let host = match headers.get(HOST) {
                Some(host) => host.to_str().ok(),
                None => uri.authority().map(Authority::as_str),
            };
            // The scheme may differ where a proxy ends TLS.
            matches!((named, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
        }
        // Every browser names the origin of such a request; what carries our cookie is a browser.
        None => !headers.contains_key(COOKIE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_and_programs_may_change_something() {
        for (given, ours) in [
            (&[][..], true),
            (&[("authorization", "Bearer x"), ("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://other.example")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://localhost:9090")], true),
            (&[("origin", "https://LOCALHOST:9090"), ("cookie", "a=b")], true),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("cookie", "treehook_session=1.2")], false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost:9090".parse().unwrap());
            for (name, value) in given {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_ours(&headers, &Uri::from_static("/")), ours, "{given:?}");
        }
    }
}
