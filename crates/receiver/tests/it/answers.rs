//! Every row of the answers table (CONTRACT.md section 1).

use treehook_event::{Failure, Scheme, Timestamp};
use treehook_receiver::Readiness;

use crate::client::{Line, Post};
use crate::harness::{Mood, SECRET, Site, WHSEC, click, dub_click, github, linktree, now, shopify};

#[tokio::test]
async fn a_good_delivery_of_every_scheme_is_accepted() {
    let site = Site::open();
    let dub = dub_click("evt_1", "2025-11-24T15:00:00Z");
    for post in [
        linktree(click("evt_1")),
        Post::signed("dub", &Scheme::dub(), SECRET, now(), dub),
        Post::signed("standard", &Scheme::standard(), WHSEC, now(), click("evt_1")),
        Post::signed("github", &github(), SECRET, now(), click("evt_1")),
        Post::signed("shopify", &shopify(), SECRET, now(), click("evt_1")),
    ] {
        let answer = site.post(&post).await;
        assert_eq!(answer.status, 202, "{}: {answer:?}", post.path);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected = serde_json::json!({"status": "accepted", "events": 1, "ids": ["evt_1"]});
        assert_eq!(answer.json(), expected);
    }
    let published = site.publisher.published();
    assert_eq!(published.len(), 5);
    assert!(published.iter().all(|event| event.event_type() == "link.clicked"));
    assert!(published.iter().all(|event| event.received_at == now()));
}

#[tokio::test]
async fn every_refusal_has_its_status_and_its_code() {
    let site = Site::open();
    let at = |seconds: i64| {
        let moment = now().plus_millis(seconds * 1000);
        Post::signed("linktree", &Scheme::linktree(), SECRET, moment, click("evt_1"))
    };
    let dub = |created_at: &str| {
        Post::signed("dub", &Scheme::dub(), SECRET, now(), dub_click("evt_1", created_at))
    };
    let old_standard =
        Post::signed("standard", &Scheme::standard(), WHSEC, Timestamp::from_seconds(1), click(""));
    let wrong = |source: &str, scheme: &Scheme, secret: &str| {
        Post::signed(source, scheme, secret, now(), click("evt_1"))
    };
    let signature = "x-linktree-signature";
    let good = linktree(click("evt_1"));
    let other_key = "whsec_AAECAwQFBgcICQoLDA0ODw==";
    for (case, post, status, code) in [
        ("unknown source", Post::plain("nobody", "x"), 404, "unknown_source"),
        ("unknown, not UTF-8", Post::plain("%ff", "x"), 404, "unknown_source"),
        (
            "compressed",
            good.clone().header("content-encoding", "gzip"),
            415,
            "unsupported_encoding",
        ),
        ("unsigned", Post::plain("linktree", click("a")), 401, "missing_signature"),
        ("no timestamp", good.clone().without("x-linktree-timestamp"), 401, "missing_signature"),
        ("unsigned dub", Post::plain("dub", "{}"), 401, "missing_signature"),
        ("unsigned standard", Post::plain("standard", "{}"), 401, "missing_signature"),
        ("wrong secret", wrong("linktree", &Scheme::linktree(), "x"), 403, "invalid_signature"),
        ("wrong secret", wrong("dub", &Scheme::dub(), "x"), 403, "invalid_signature"),
        ("wrong", wrong("standard", &Scheme::standard(), other_key), 403, "invalid_signature"),
        ("wrong secret", wrong("github", &github(), "x"), 403, "invalid_signature"),
        ("wrong secret", wrong("shopify", &shopify(), "x"), 403, "invalid_signature"),
        ("malformed", good.clone().with(signature, |_| b"zz".to_vec()), 403, "invalid_signature"),
        ("empty", good.clone().with(signature, |_| Vec::new()), 403, "invalid_signature"),
        (
            "not UTF-8",
            good.clone().with(signature, |_| b"\xff\xfe".to_vec()),
            403,
            "invalid_signature",
        ),
        ("repeated", good.clone().header(signature, "00"), 403, "invalid_signature"),
        ("too old", at(-301), 403, "stale_timestamp"),
        ("too new", at(301), 403, "stale_timestamp"),
        ("old standard", old_standard, 403, "stale_timestamp"),
        ("old dub envelope", dub("2025-11-23T15:59:59Z"), 403, "stale_timestamp"),
        ("not JSON", linktree("{\"type\":"), 400, "malformed_payload"),
        ("empty body", linktree(""), 400, "malformed_payload"),
        ("no envelope", linktree("{}"), 400, "malformed_payload"),
        (
            "another platform's",
            linktree(dub_click("e", "2025-11-24T15:00:00Z")),
            400,
            "malformed_payload",
        ),
        ("empty array", linktree("[]"), 400, "malformed_payload"),
    ] {
        let answer = site.post(&post).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{case}");
    }
    assert!(site.publisher.published().is_empty());
}

#[tokio::test]
async fn the_edges_of_the_tolerance_are_inside() {
    let site = Site::open();
    for seconds in [-300, 0, 300] {
        let moment = now().plus_millis(seconds * 1000);
        let post = Post::signed("linktree", &Scheme::linktree(), SECRET, moment, click("evt_1"));
        assert_eq!(site.post(&post).await.status, 202, "{seconds}");
    }
    let dub = dub_click("evt_1", "2025-11-23T16:00:00Z");
    let post = Post::signed("dub", &Scheme::dub(), SECRET, now(), dub);
    assert_eq!(site.post(&post).await.status, 202);
}

#[tokio::test]
async fn only_post_is_allowed_on_a_source() {
    let site = Site::open();
    for (method, path, status, allow) in [
        ("GET", "/webhooks/linktree", 405, Some("POST")),
        ("HEAD", "/webhooks/linktree", 405, Some("POST")),
        ("PUT", "/webhooks/linktree", 405, Some("POST")),
        ("GET", "/webhooks/nobody", 404, None),
        ("DELETE", "/readyz", 405, Some("GET, HEAD")),
    ] {
        let mut line = Line::open(site.address).await;
        line.send(format!("{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await;
        let answer = match method {
            "HEAD" => line.answer_to_head().await,
            _ => line.answer().await,
        };
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn nothing_else_is_there() {
    let site = Site::open();
    for path in
        ["/", "/webhooks", "/webhooks/", "/webhooks/linktree/", "/metrics", "/api/v1/status"]
    {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn an_outage_of_everything_asks_the_sender_to_come_back() {
    let site = Site::open();
    for failure in [
        Failure::transient("outbox_full", "no room"),
        Failure::poison("constraint", "no"),
        Failure::fatal("topology", "wrong"),
    ] {
        site.publisher.is(Mood::Fail(failure));
        let answer = site.post(&linktree(click("evt_1"))).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "not_accepting"));
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(!answer.body.contains("no room"), "the cause is for the log alone");
    }
    site.publisher.is(Mood::Spool);
    assert_eq!(site.post(&linktree(click("evt_1"))).await.status, 202);
}

#[tokio::test]
async fn a_retry_gets_the_same_ids() {
    let site = Site::open();
    let unnamed = r#"{"type":"profile.viewed","timestamp":1764000000,"data":{"profile_id":"p"}}"#;
    let bodies = [click("evt_1"), unnamed.to_owned(), format!("[{},{unnamed}]", click("evt_2"))];
    for body in bodies {
        let first = site.post(&linktree(body.clone())).await;
        // Signed anew, as a retry is.
        let later = now().plus_millis(90_000);
        let again = Post::signed("linktree", &Scheme::linktree(), SECRET, later, body);
        assert_eq!(first.status, 202);
        assert_eq!(site.post(&again).await.body, first.body);
    }
    let batch = format!("[{},{}]", unnamed.replace("\"p\"", "\"a\""), unnamed);
    let post = Post::signed("standard", &Scheme::standard(), WHSEC, now(), batch);
    assert_eq!(site.post(&post).await.json()["ids"], serde_json::json!(["msg_1#0", "msg_1#1"]));
}

#[tokio::test]
async fn one_bad_element_refuses_the_array_and_names_its_place() {
    let site = Site::open();
    let bad = r#"{"type":"link.clicked","timestamp":"SECRET-MARK","data":{}}"#;
    let answer = site.post(&linktree(format!("[{},{},{bad}]", click("a"), click("b")))).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_payload"));
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("[2]") && detail.contains("`timestamp`"), "{detail}");
    assert!(!answer.body.contains("SECRET-MARK"));
    assert!(site.publisher.published().is_empty());
}

#[tokio::test]
async fn readiness_is_what_the_roof_says_and_liveness_is_not() {
    let site = Site::open();
    let parts = vec![("broker", "down"), ("outbox", "ok")];
    for (accepting, parts, status, body) in [
        (true, parts.clone(), 200, r#"{"broker":"down","outbox":"ok","status":"ready"}"#),
        (false, parts, 503, r#"{"broker":"down","outbox":"ok","status":"not_ready"}"#),
    ] {
        *site.readiness.lock().unwrap() = Readiness { accepting, parts };
        let answer = site.get("/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
        assert_eq!(site.get("/livez").await.status, 200);
    }
}
