//! Who gets in: the bearer token, the sign-in page and its cookie, and the closed console.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use treehook_console::{Access, Limits, Token};

use crate::small::{Answer, console, get, limits, open, send, small, with_token};

const API: [&str; 4] =
    ["/api/v1/profiles", "/api/v1/profiles/p1/report", "/api/v1/status", "/api/openapi.json"];

async fn with_header(router: &Router, path: &str, name: &str, value: &str) -> Answer {
    let request = Request::get(path).header(name, value).body(Body::empty());
    send(router, request.expect("a well-formed request")).await
}

async fn sign_in(router: &Router, form: &str) -> Answer {
    let request = Request::post("/sign-in")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("a well-formed request");
    send(router, request).await
}

#[tokio::test]
async fn the_api_answers_to_the_token_alone() {
    let router = with_token();
    for path in API {
        for (authorization, status) in [
            ("Bearer right-token", 200),
            ("bearer right-token", 200),
            ("Bearer right-toke", 401),
            ("Bearer right-token2", 401),
            ("Bearer ", 401),
            ("Bearer", 401),
            ("Basic cmlnaHQtdG9rZW4=", 401),
            ("right-token", 401),
        ] {
            let answer = with_header(&router, path, "authorization", authorization).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {authorization}");
        }
        let answer = get(&router, path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(answer.json()["code"], "unauthorized", "{path}");
    }
}

#[tokio::test]
async fn two_authorizations_are_none() {
    let request = Request::get("/api/v1/profiles")
        .header("authorization", "Bearer right-token")
        .header("authorization", "Bearer right-token")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&with_token(), request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_browser_signs_in_reads_and_signs_out() {
    let router = with_token();
    let door = get(&router, "/").await;
    assert_eq!(door.status, StatusCode::UNAUTHORIZED);
    assert!(door.text.contains("action=\"sign-in\""));

    let answer = sign_in(&router, "token=right-token%0A").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), "./");
    let cookie = answer.header("set-cookie");
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict; Max-Age=604800");
    assert!(!cookie.contains("right-token"));

    let others_beside_it = format!("a=b; {pair}; c");
    let dashboard = with_header(&router, "/", "cookie", &others_beside_it).await;
    assert_eq!(dashboard.status, StatusCode::OK);
    assert!(dashboard.text.contains("<form class=\"sign-out\""));
    let profiles = with_header(&router, "/api/v1/profiles", "cookie", pair).await;
    assert_eq!(profiles.status, StatusCode::OK);

    let request = Request::post("/sign-out")
        .header("cookie", pair)
        .header("sec-fetch-site", "same-origin")
        .body(Body::empty())
        .unwrap();
    let gone = send(&router, request).await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
    assert!(gone.header("set-cookie").starts_with("treehook_session=; "));
    assert!(gone.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn a_wrong_token_earns_no_cookie() {
    let router = with_token();
    for (form, status) in [
        ("token=wrong", 401),
        ("token=", 401),
        ("", 400),
        ("other=right-token", 400),
        (&*format!("token={}", "x".repeat(5000)), 400),
    ] {
        let answer = sign_in(&router, form).await;
        assert_eq!(answer.status.as_u16(), status, "{form}");
        assert!(!answer.headers.contains_key("set-cookie"), "{form}");
    }
    let refused = sign_in(&router, "token=wrong").await;
    assert!(refused.text.contains("role=\"alert\">That is not the token."));
    for cookie in ["treehook_session=", "treehook_session=9999999999.00", "treehook_session=x"] {
        let answer = with_header(&router, "/api/v1/profiles", "cookie", cookie).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cookie}");
    }
}

#[tokio::test]
async fn only_so_many_may_try_at_once() {
    let access = Access::Token(Token::new("right-token").unwrap());
    let router = console(small(), access, Limits { sign_ins_at_once: 0, ..limits() });
    let answer = sign_in(&router, "token=wrong").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json()["code"], "too_many_attempts");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn behind_tls_the_cookie_stays_behind_tls() {
    let request = Request::post("/sign-in")
        .header("x-forwarded-proto", "https")
        .body(Body::from("token=right-token"))
        .unwrap();
    let answer = send(&with_token(), request).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn a_closed_console_answers_nothing_but_the_remedy() {
    let router = console(small(), Access::Closed, limits());
    for path in API.into_iter().chain(["/", "/assets/app.css"]) {
        let answer = get(&router, path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], "console_closed", "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("TREEHOOK_API_TOKEN"), "{path}");
    }
    assert_eq!(sign_in(&router, "token=x").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_open_console_refuses_a_foreign_host_name() {
    let router = open();
    for (host, status) in [("localhost:9090", 200), ("127.0.0.1:9090", 200), ("evil.example", 403)]
    {
        let answer = with_header(&router, "/api/v1/profiles", "host", host).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    // The token tells friend from foe, whatever the name.
    let request = Request::get("/api/v1/profiles")
        .header("host", "stats.example")
        .header("authorization", "Bearer right-token")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&with_token(), request).await.status, StatusCode::OK);
}
