//! The dashboard's files and the headers around everything.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get as on_get;

use crate::small::{get, open, send, with_token};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

#[tokio::test]
async fn every_answer_carries_the_protective_headers() {
    for router in [open(), with_token()] {
        for path in ["/", "/assets/app.js", "/assets/nothing.js", "/api/v1/profiles", "/api/none"] {
            let answer = get(&router, path).await;
            assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
            assert!(answer.headers.contains_key("cache-control"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_dashboard_and_all_it_names_are_served() {
    let router = open();
    for path in ["/", "/dead-letters"] {
        let page = get(&router, path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text.contains("<form hidden"), "nobody signs out of an open console");
        assert_eq!(get(&with_token(), path).await.status, StatusCode::UNAUTHORIZED);
    }
    for (name, kind) in [
        ("app.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("chart.js", "text/javascript; charset=utf-8"),
        ("element.js", "text/javascript; charset=utf-8"),
        ("format.js", "text/javascript; charset=utf-8"),
        ("panels.js", "text/javascript; charset=utf-8"),
        ("history.js", "text/javascript; charset=utf-8"),
        ("live.js", "text/javascript; charset=utf-8"),
        ("dead-letters.js", "text/javascript; charset=utf-8"),
        ("uplot.js", "text/javascript; charset=utf-8"),
        ("uplot.css", "text/css; charset=utf-8"),
        ("uplot-license.txt", "text/plain; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let answer = get(&router, &format!("/assets/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.header("content-type"), kind, "{name}");
    }
    for name in ["index.html", "sign-in.html", "dead-letters.html", "none.css", "..%2FCargo.toml"] {
        assert_eq!(get(&router, &format!("/assets/{name}")).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn an_unchanged_asset_costs_no_bytes() {
    let router = open();
    let first = get(&router, "/assets/app.css").await;
    let request = Request::get("/assets/app.css")
        .header("if-none-match", first.header("etag"))
        .body(Body::empty())
        .unwrap();
    let second = send(&router, request).await;
    assert_eq!(second.status, StatusCode::NOT_MODIFIED);
    assert!(second.text.is_empty());
}

#[tokio::test]
async fn the_console_can_be_merged_with_what_else_the_listener_serves() {
    let router: Router = Router::new().route("/metrics", on_get(|| async { "up 1" })).merge(open());
    assert_eq!(get(&router, "/metrics").await.text, "up 1");
    assert_eq!(get(&router, "/").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/nowhere").await.status, StatusCode::NOT_FOUND);
}
