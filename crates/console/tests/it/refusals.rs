//! What is answered when it cannot be: problem details with a code, and the parameter at fault.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use treehook_console::Access;
use treehook_event::Failure;

use crate::fixture::Fixture;
use crate::small::{console, get, limits, open, send, small};

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let router = open();
    for (path, parameter) in [
        ("profiles?limit=0", "limit"),
        ("profiles?limit=501", "limit"),
        ("profiles?limit=many", "limit"),
        ("profiles?after=", "after"),
        ("profiles?page=2", "page"),
        ("dead-letters?source=", "source"),
        ("profiles/p1/trend?country=", "country"),
        ("profiles/p1/analytics?from=&to=", "from"),
        ("profiles/p1/analytics?period=yesterday", "period"),
        ("profiles/p1/analytics?period=", "period"),
        ("profiles/p1/analytics?perod=last_7_days", "perod"),
        ("profiles/p1/analytics?period=last_7_days&from=2026-01-01", "period"),
        ("profiles/p1/analytics?period=last_7_days&period=last_7_days", "period"),
        ("profiles/p1/analytics?from=soon&to=2026-01-01", "from"),
        ("profiles/p1/analytics?from=2026-01-02&to=2026-01-01", "to"),
        ("profiles/p1/analytics?from=1970-01-01&to=2026-01-01", "to"),
        ("profiles/p1/analytics?to=2026-01-01", "from"),
        ("profiles/p1/analytics?granularity=weekly", "granularity"),
        ("profiles/p1/analytics?tz=Berlin", "tz"),
        ("profiles/p1/analytics?tz=Asia/Kathmandu", "tz"),
        ("profiles/p1/analytics?compare=next", "compare"),
        ("profiles/p1/links?after=nobody", "after"),
        ("profiles/p1/history?after=1.2", "after"),
        ("profiles/p1/trend", "link"),
        ("profiles/p1/trend?link=l1&country=DE", "country"),
        ("profiles/p1/trend?country=DE&granularity=hourly", "granularity"),
        ("profiles/p1/trend?link=l1&from=2026-01-01&to=2026-06-01&granularity=hourly", "period"),
        ("dead-letters?after=1", "after"),
        ("profiles/p1/links?sort=best", "sort"),
        ("profiles/p1/links?limit=10001", "limit"),
        ("profiles/p1/links?granularity=daily", "granularity"),
        ("profiles/p1/audience?period=x", "period"),
        ("profiles/p1/milestones?period=last_7_days", "period"),
        ("profiles/p1/report?format=xml", "format"),
        ("profiles/p1/report?metrics=views,sales", "metrics"),
        ("status?verbose=1", "verbose"),
    ] {
        let answer = get(&router, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], "invalid_parameter", "{path}");
        assert_eq!(problem["parameter"], parameter, "{path}");
        assert_eq!(problem["status"], 400, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(parameter), "{path}");
    }
}

#[tokio::test]
async fn every_unknown_parameter_is_listed_within_bounds() {
    let router = open();
    let query: Vec<String> = (0..20).map(|n| format!("x{n}=1")).collect();
    let problem = get(&router, &format!("/api/v1/profiles?{}", query.join("&"))).await.json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("x0") && detail.contains("x4") && !detail.contains("x5"), "{detail}");
    let long = get(&router, &format!("/api/v1/profiles?{}=1", "y".repeat(5000))).await;
    assert!(long.text.len() < 600);
}

#[tokio::test]
async fn a_profile_that_nobody_named_is_not_found() {
    let router = open();
    let long = "p".repeat(300);
    for id in ["nobody", "%FF", "a%00b", &long] {
        for kind in ["analytics", "links", "audience", "milestones", "history", "report"] {
            let answer = get(&router, &format!("/api/v1/profiles/{id}/{kind}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id} {kind}");
            assert_eq!(answer.json()["code"], "profile_not_found", "{id} {kind}");
        }
    }
    let elsewhere = get(&router, "/api/v2/profiles").await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    assert_eq!(elsewhere.json()["code"], "not_found");
}

#[tokio::test]
async fn another_method_is_told_which_ones_there_are() {
    let router = open();
    for (path, method, allow) in [
        ("/api/v1/profiles", "POST", "GET,HEAD"),
        ("/", "DELETE", "GET,HEAD"),
        ("/sign-in", "GET", "POST"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = send(&router, request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.header("allow"), allow, "{path}");
        assert_eq!(answer.json()["code"], "method_not_allowed", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_503_and_says_nothing_of_its_insides() {
    for (failure, status, code) in [
        (Failure::transient("io", "host db-7 gone"), 503, "store_unavailable"),
        (Failure::fatal("schema", "host db-7 is too old"), 503, "store_unavailable"),
        (Failure::poison("sketch", "row 7 of db-7"), 500, "store_unreadable"),
    ] {
        let store = Fixture { failure: Some(failure), ..small() };
        let router = console(store, Access::Open, limits());
        for path in ["profiles", "profiles/p1/analytics", "profiles/p1/report"] {
            let answer = get(&router, &format!("/api/v1/{path}")).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
            assert_eq!(answer.json()["code"], code, "{path}");
            assert!(!answer.text.contains("db-7"), "{path}");
            assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{path}");
        }
    }
}

#[tokio::test]
async fn a_store_that_never_answers_holds_no_reader_for_ever_and_status_still_answers() {
    let store = Fixture { stalled: true, ..small() };
    let router = console(store, Access::Open, limits());
    let answer = get(&router, "/api/v1/profiles").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["code"], "store_unavailable");
    assert_eq!(get(&router, "/api/v1/status").await.status, StatusCode::OK);
}
