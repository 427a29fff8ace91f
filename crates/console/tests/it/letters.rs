//! Dead letters over HTTP, the history, and who may change something.

#![expect(clippy::unwrap_used, reason = "setup of tests: what fails here fails the test")]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use treehook_console::{Access, Actions};
use treehook_event::Failure;

use crate::small::{Answer, acting, get, limits, open, send, small, with_token};

async fn change(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

async fn ids(router: &Router, query: &str) -> Vec<String> {
    let list = get(router, &format!("/api/v1/dead-letters{query}")).await.json();
    let rows = list["dead_letters"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_narrowed_and_shown() {
    let router = open();
    let all = ids(&router, "").await;
    assert_eq!(all.len(), 3);
    for (query, count) in [
        ("?reason=missing_field", 2),
        ("?reason=missing_field:link_id", 1),
        ("?source=dub", 1),
        ("?type=link.clicked&source=linktree", 2),
        ("?source=nobody", 0),
    ] {
        assert_eq!(ids(&router, query).await.len(), count, "{query}");
    }
    let page = get(&router, "/api/v1/dead-letters?limit=2").await.json();
    assert_eq!(page["next"], json!(all[1]));
    assert_eq!(ids(&router, &format!("?limit=2&after={}", all[1])).await, all[2..]);

    let whole = ids(&router, "?reason=missing_field:link_id").await.remove(0);
    let shown = get(&router, &format!("/api/v1/dead-letters/{whole}")).await;
    assert_eq!(shown.header("cache-control"), "no-store");
    assert_eq!(
        shown.json(),
        json!({
            "id": whole, "source": "linktree", "event_id": "missing_field:link_id",
            "type": "link.clicked", "profile_id": null, "reason": "missing_field:link_id",
            "occurred_at": "2026-11-24T10:30:00.000Z", "first_at": "2026-11-24T10:30:00.000Z",
            "last_at": "2026-11-24T10:30:00.000Z", "attempts": 1, "event": {"id": "x"},
        })
    );
    let broken = ids(&router, "?reason=expired").await.remove(0);
    let shown = get(&router, &format!("/api/v1/dead-letters/{broken}")).await.json();
    assert_eq!(shown["event"], "{broken");
}

#[tokio::test]
async fn a_dead_letter_is_redriven_or_discarded_once() {
    let router = open();
    let all = ids(&router, "").await;
    let path = format!("/api/v1/dead-letters/{}", all[0]);
    let redriven = change(&router, "POST", &format!("{path}/redrive"), &[]).await;
    assert_eq!(redriven.json(), json!({"redriven": 1}));
    let discarded =
        change(&router, "DELETE", &format!("/api/v1/dead-letters/{}", all[1]), &[]).await;
    assert_eq!(discarded.json(), json!({"discarded": 1}));
    assert_eq!(ids(&router, "").await, all[2..]);
    for (method, path) in
        [("POST", format!("{path}/redrive")), ("DELETE", path.clone()), ("GET", path)]
    {
        let gone = change(&router, method, &path, &[]).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{method}");
        assert_eq!(gone.json()["code"], "dead_letter_not_found", "{method}");
    }
    assert_eq!(
        get(&router, "/api/v1/dead-letters/xyz").await.json()["code"],
        "dead_letter_not_found"
    );
}

#[tokio::test]
async fn a_letter_that_failed_again_at_once_was_redriven_all_the_same() {
    let router = acting(small(), Access::Open, limits(), Actions::redriving(|_| async { Ok(()) }));
    let all = ids(&router, "").await;
    let path = format!("/api/v1/dead-letters/{}/redrive", all[0]);
    let redriven = change(&router, "POST", &path, &[]).await;
    assert_eq!(redriven.json(), json!({"redriven": 1}));
    assert_eq!(ids(&router, "").await, all);
}

#[tokio::test]
async fn what_cannot_be_redriven_stays_and_says_what_to_do() {
    let fails = |failure: Failure| {
        Actions::redriving(move |_| {
            let failure = failure.clone();
            async move { Err(failure) }
        })
    };
    for (actions, status, code) in [
        (Actions::none(), 409, "redrive_unavailable"),
        (fails(Failure::transient("io", "host mq-7 gone")), 503, "redrive_failed"),
        (fails(Failure::poison("undecodable", "of mq-7")), 409, "redrive_refused"),
    ] {
        let router = acting(small(), Access::Open, limits(), actions);
        let all = ids(&router, "").await;
        let path = format!("/api/v1/dead-letters/{}/redrive", all[0]);
        let refused = change(&router, "POST", &path, &[]).await;
        assert_eq!(refused.status.as_u16(), status, "{code}");
        assert_eq!(refused.json()["code"], code);
        assert!(!refused.text.contains("mq-7"), "{code}");
        assert_eq!(ids(&router, "").await, all, "{code}");
    }
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let letter = |router: Router| async move {
        let list = change(
            &router,
            "GET",
            "/api/v1/dead-letters",
            &[("authorization", "Bearer right-token")],
        )
        .await;
        list.json()["dead_letters"][0]["id"].as_str().unwrap().to_owned()
    };
    let signed_in = {
        let request = Request::post("/sign-in").body(Body::from("token=right-token")).unwrap();
        let answer = send(&with_token(), request).await;
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    };
    let cookie = ("cookie", signed_in.as_str());
    for (router, headers, status) in [
        (open(), vec![("sec-fetch-site", "cross-site")], 403),
        (open(), vec![("origin", "http://evil.example"), ("host", "localhost:9090")], 403),
        (open(), vec![("origin", "http://localhost:9090"), ("host", "localhost:9090")], 200),
        (with_token(), vec![cookie], 403),
        (with_token(), vec![cookie, ("sec-fetch-site", "same-site")], 403),
        (with_token(), vec![cookie, ("sec-fetch-site", "same-origin")], 200),
        (with_token(), vec![("sec-fetch-site", "same-origin")], 401),
        (with_token(), vec![("authorization", "Bearer right-token")], 200),
        (with_token(), vec![("authorization", "Bearer wrong")], 401),
    ] {
        let id = letter(router.clone()).await;
        for (method, path) in [
            ("POST", format!("/api/v1/dead-letters/{id}/redrive")),
            ("DELETE", "/api/v1/dead-letters/00000000000000000000000000000000".to_owned()),
        ] {
            let answer = change(&router, method, &path, &headers).await;
            let expected = if method == "DELETE" && status == 200 { 404 } else { status };
            assert_eq!(answer.status.as_u16(), expected, "{method} {headers:?}");
        }
    }
    let headers = [("sec-fetch-site", "cross-site")];
    let forged = change(&with_token(), "POST", "/sign-in", &headers).await;
    assert_eq!(forged.json()["code"], "cross_origin");
}

#[tokio::test]
async fn a_history_tells_what_changed_a_page_at_a_time() {
    let router = open();
    let first = get(&router, "/api/v1/profiles/p1/history?limit=3").await.json();
    let rows = first["history"].as_array().unwrap();
    assert_eq!(rows[0]["changes"], json!({"bio": "Hello"}));
    assert_eq!(rows[0]["link_id"], Value::Null);
    assert_eq!(
        rows[2],
        json!({
            "at": "2026-11-24T10:28:00.000Z", "source": "linktree", "event_id": "h2",
            "type": "link.updated", "link_id": "l1", "changes": {"title": "B", "url": null},
        })
    );
    let next = first["next"].as_str().unwrap();
    let last =
        get(&router, &format!("/api/v1/profiles/p1/history?limit=3&after={next}")).await.json();
    assert_eq!(last["history"].as_array().unwrap().len(), 1);
    assert_eq!(last["history"][0]["changes"], Value::Null, "unreadable, and said so");
    assert_eq!(last["next"], Value::Null);
}
