//! A small profile that can be checked by hand, and a way to ask the console about it.

#![expect(clippy::unwrap_used, reason = "setup of tests: what fails here fails the test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;
use treehook_console::{
    Access, Actions, BrokerState, Console, DatabaseState, Limits, OutboxDepth, PipelineStatus,
    QueueDepth, Token, router,
};
use treehook_event::{
    AudienceCount, Counts, DeadLetter, Dimension, EventType, HistoryRow, HourCount, Identity, Key,
    LinkId, LinkState, LinkTotal, Milestone, MilestoneRow, Minute, MinuteCount, ProfileId,
    ProfileState, ProfileSummary, Sketch, SourceName, Stamp, Stamped, Timestamp, VisitorId,
};

use crate::fixture::{Fixture, remove};

/// Tuesday, 24 November 2026, 10:30 UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-24T10:30:00Z").unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the fields of a projection are options")]
fn stamped<T>(value: T) -> Option<Stamped<T>> {
    let stamp = Stamp { at: now(), by: Identity::given("evt_1") };
    Some(Stamped { value, stamp })
}

fn crowd(mut sketch: Sketch, people: u64) -> Sketch {
    (0..people).for_each(|n| sketch.add(VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    sketch
}

fn profile(id: &str, name: Option<&str>) -> ProfileSummary {
    let display_name = name.and_then(|name| stamped(name.to_owned()));
    ProfileSummary {
        profile_id: ProfileId::trusted(id),
        state: ProfileState { display_name, ..ProfileState::default() },
    }
}

fn link(id: &str, clicks: u64, title: &str, deleted: bool) -> LinkTotal {
    let state = LinkState {
        title: stamped(title.to_owned()),
        url: stamped(Some(format!("https://example.com/{id}"))),
        kind: stamped("classic".to_owned()),
        deleted: deleted.then(|| Stamp { at: now(), by: Identity::given("evt_2") }),
        ..LinkState::default()
    };
    LinkTotal { link_id: LinkId::trusted(id), clicks, state }
}

/// 10 views and 4 clicks, 3 of them in the current hour and 1 twenty days ago.
pub(crate) fn small() -> Fixture {
    let hour = now().hour();
    let earlier = now().day().plus(-20).first_hour();
    let count = |dimension, value: &str, clicks| AudienceCount {
        dimension,
        value: value.to_owned(),
        clicks,
    };
    let milestone = Milestone {
        profile_id: ProfileId::trusted("p1"),
        link_id: Some(LinkId::trusted("l1")),
        metric: Some("clicks".to_owned()),
        threshold: Some(3),
        value: Some(3),
    };
    let key = Key::of(&SourceName::new("linktree").unwrap(), &Identity::given("evt_3"));
    Fixture {
        profiles: vec![profile("p1", Some("Ada")), profile("p2", None), profile("p3/x", None)],
        hours: vec![
            HourCount { hour: earlier, views: 4, clicks: 1 },
            HourCount { hour, views: 6, clicks: 3 },
        ],
        minutes: [-59, -30, -29, 0, 1]
            .map(|minutes| MinuteCount {
                minute: Minute(now().minute().0 + minutes),
                counts: Counts { views: 10, clicks: 1 },
            })
            .to_vec(),
        links: vec![link("l1", 3, "Shop", false), link("l2", 1, "=1+1", true)],
        visitors: Some(crowd(Sketch::for_profile(), 7)),
        link_visitors: vec![(LinkId::trusted("l1"), crowd(Sketch::for_link(), 2))],
        audience: vec![
            count(Dimension::Country, "DE", 3),
            count(Dimension::Country, "unknown", 1),
            count(Dimension::Referrer, "direct", 4),
            count(Dimension::Device, "mobile", 4),
        ],
        milestones: vec![MilestoneRow { key, milestone, at: now() }],
        history: history(),
        dead: Arc::new(Mutex::new(dead())),
        ..Fixture::default()
    }
}

/// A link is made, changed and gone, and the profile says something, a minute apart.
fn history() -> Vec<HistoryRow> {
    let bodies = [
        ("profile.updated", r#"{"profile":{"profile_id":"p1","bio":"Hello"}}"#),
        (
            "link.deleted",
            r#"{"link":{"change":"deleted","profile_id":"p1","link_id":"l1","fields":{}}}"#,
        ),
        (
            "link.updated",
            r#"{"link":{"change":"updated","profile_id":"p1","link_id":"l1","fields":{"title":"B","url":null}}}"#,
        ),
        ("link.created", "not readable"),
    ];
    let rows = bodies.into_iter().zip(0..).map(|((event_type, detail), minutes)| {
        let (source, identity) =
            (SourceName::trusted("linktree"), Identity::given(&format!("h{minutes}")));
        HistoryRow {
            at: now().plus_millis(-60_000 * minutes),
            key: Key::of(&source, &identity),
            source,
            identity,
            event_type: EventType::trusted(event_type),
            link_id: event_type.starts_with("link").then(|| LinkId::trusted("l1")),
            detail: detail.to_owned(),
        }
    });
    rows.collect()
}

/// Three that wait for a decision, in order of key.
fn dead() -> Vec<DeadLetter> {
    let reasons = ["missing_field:link_id", "missing_field:profile_id", "expired"];
    let mut letters: Vec<DeadLetter> = reasons
        .into_iter()
        .map(|reason| DeadLetter {
            source: SourceName::trusted(if reason == "expired" { "dub" } else { "linktree" }),
            identity: Identity::given(reason),
            event_type: EventType::trusted("link.clicked"),
            profile_id: None,
            entry: None,
            reason: reason.to_owned(),
            occurred_at: now(),
            first_at: now(),
            last_at: now(),
            attempts: 1,
            event: if reason == "expired" { "{broken" } else { r#"{"id":"x"}"# }.to_owned(),
        })
        .collect();
    letters.sort_by_key(DeadLetter::key);
    letters
}

/// What the pipeline says in these tests.
pub(crate) fn status() -> PipelineStatus {
    PipelineStatus {
        accepted: Some(5),
        applied: Some(4),
        duplicates: Some(1),
        dead: Some(0),
        outbox: Some(OutboxDepth { events: 0, bytes: 0, oldest_seconds: None }),
        queue: Some(QueueDepth::Events(0)),
        lag_seconds: None,
        broker: BrokerState::None,
        database: DatabaseState::Up,
    }
}

/// Waits for nothing that a test would have to wait for.
pub(crate) fn limits() -> Limits {
    Limits {
        cache_entries: 0,
        sign_in_delay: Duration::from_millis(1),
        read_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

pub(crate) fn console(store: Fixture, access: Access, limits: Limits) -> Router {
    let dead = store.dead.clone();
    let actions = Actions::redriving(move |letters: Vec<DeadLetter>| {
        let read: Vec<_> = letters.iter().map(|letter| (letter.key(), letter.attempts)).collect();
        remove(&dead, &read);
        async { Ok(()) }
    });
    acting(store, access, limits, actions)
}

pub(crate) fn acting(store: Fixture, access: Access, limits: Limits, actions: Actions) -> Router {
    router(Console::new(store, access, limits, actions, now, || async { status() }))
}

pub(crate) fn open() -> Router {
    console(small(), Access::Open, limits())
}

pub(crate) fn with_token() -> Router {
    console(small(), Access::Token(Token::new("right-token").unwrap()), limits())
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}
