//! How long the read API takes over a large archive: fills a store through the worker's own path,
//! then asks each endpoint a hundred times. `make bench ONLY=answers ARCHIVE=10000000`.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;
use treehook_console::{Access, Actions, Console, Limits};
use treehook_event::{
    Body as EventBody, Device, Event, EventStore, Identity, LinkId, ProfileId, SourceName,
    Subjects, Timestamp, Visit, VisitKind, VisitorId,
};

/// What is filled in.
struct Plan {
    events: u64,
    profiles: u64,
    links: u64,
    days: u64,
}

/// Events recorded at once.
const BATCH: u64 = 5_000;
/// How often each endpoint is asked.
const ASKED: usize = 100;

fn main() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let plan = Plan {
        events: number("EVENTS", 1_000_000),
        profiles: number("PROFILES", 20),
        links: number("LINKS", 50),
        days: number("DAYS", 90),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a directory for the store");
        let store = treehook_sqlite::Store::open(dir.path()).await.expect("SQLite opens");
        store.migrate().await.expect("SQLite migrates");
        measure("sqlite", store, &plan).await;
        let Ok(url) = std::env::var("TREEHOOK_BENCH_DATABASE_URL") else {
            say("postgres: TREEHOOK_BENCH_DATABASE_URL names no empty database, left out");
            return;
        };
        let options = treehook_postgres::StoreOptions::default();
        let store = treehook_postgres::Store::connect(&url, options).expect("the URL is one");
        store.migrate().await.expect("Postgres migrates");
        measure("postgres", store, &plan).await;
    });
}

#[expect(clippy::print_stdout, reason = "the results of a benchmark")]
fn say(text: &str) {
    println!("{text}");
}

async fn measure<S: EventStore + Subjects + Clone + 'static>(name: &str, store: S, plan: &Plan) {
    let now = Timestamp::from_millis(NOW_MS);
    let started = Instant::now();
    let mut at = 0;
    while at < plan.events {
        let end = (at + BATCH).min(plan.events);
        let batch: Vec<Event> = (at..end).map(|number| event(number, plan)).collect();
        store.record(&batch, now).await.expect("it records");
        at = end;
    }
    store.catch_up(Duration::ZERO).await.expect("it catches up");
    let (events, seconds) = (plan.events, started.elapsed().as_secs_f64());
    say(&format!(
        "{name}: {events} events over {} links and {} days in {seconds:.0} s",
        plan.profiles * plan.links,
        plan.days
    ));
    let limits = Limits { cache_entries: 0, ..Limits::default() };
    let status = || std::future::pending();
    let clock = || Timestamp::from_millis(NOW_MS);
    let router = treehook_console::router(Console::new(
        store,
        Access::Open,
        limits,
        Actions::none(),
        clock,
        status,
    ));
    let profile = "/api/v1/profiles/p1";
    for path in [
        "/api/v1/profiles".to_owned(),
        format!("{profile}/analytics?period=last_90_days"),
        format!("{profile}/analytics?period=last_90_days&compare=previous"),
        format!("{profile}/analytics?period=last_90_days&tz=Europe/Berlin"),
        format!("{profile}/analytics?period=last_24_hours"),
        format!("{profile}/links?period=last_90_days"),
        format!("{profile}/links?period=last_7_days"),
        format!("{profile}/audience?period=last_90_days"),
        format!("{profile}/trend?period=last_90_days&link=l1"),
        format!("{profile}/trend?period=last_90_days&country=DE"),
        format!("{profile}/milestones"),
        format!("{profile}/history"),
        format!("{profile}/report?period=last_90_days"),
    ] {
        ask(name, &router, &path).await;
    }
}

async fn ask(name: &str, router: &Router, path: &str) {
    let mut times = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        let started = Instant::now();
        let answer = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        to_bytes(answer.into_body(), 64 << 20).await.expect("a body");
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, p95) = (ms(times[ASKED / 2]), ms(times[ASKED * 95 / 100]));
    say(&format!("{name}: median {median:7.2} ms  p95 {p95:7.2} ms  {path}"));
}

/// 2026-11-20T12:00:00Z: the archive ends here, and so do the periods that are asked for.
const NOW_MS: i64 = 1_795_176_000_000;

/// The same events on every run: popular links and busy hours, four in five of them clicks.
fn event(number: u64, plan: &Plan) -> Event {
    let dice = scatter(number);
    // The square makes the first ones popular.
    let skewed = |bits: u64, count: u64| {
        let unit = (bits & 0xffff) * (bits & 0xffff) / 0xffff;
        unit * count / 0x1_0000
    };
    let profile = ProfileId::trusted(&format!("p{}", skewed(dice, plan.profiles) + 1));
    let link = LinkId::trusted(&format!("l{}", skewed(dice >> 16, plan.links) + 1));
    // In the order of time, give or take ten minutes: as they come.
    let span = plan.days * 86_400_000;
    let due = span - number * span / plan.events;
    let back = i64::try_from((due + scatter(dice) % 600_000).min(span)).unwrap_or(0);
    let is_click = !dice.is_multiple_of(5);
    let kind = if is_click { VisitKind::Click { link_id: link } } else { VisitKind::View };
    let countries = ["DE", "US", "FR", "GB", "BR", "IN", "JP", "unknown"];
    let referrers = ["instagram.com", "tiktok.com", "direct", "t.co", "youtube.com"];
    let occurred_at = Timestamp::from_millis(NOW_MS - back);
    Event {
        source: SourceName::trusted("linktree"),
        identity: Identity::trusted(&format!("e{number}")),
        occurred_at,
        received_at: occurred_at,
        entry: None,
        body: EventBody::Visit(Visit {
            kind,
            profile_id: profile,
            visitor: Some(VisitorId(scatter(dice % (plan.events / 3 + 1)))),
            country: countries[usize::try_from(dice >> 40 & 7).unwrap_or(0)].into(),
            referrer: referrers[usize::try_from((dice >> 44) % 5).unwrap_or(0)].into(),
            device: Device::Mobile,
            link: None,
        }),
        payload: r#"{"position":3,"campaign":"autumn","session":"a1b2c3d4e5f6"}"#.into(),
    }
}

/// `SplitMix64`: neighbours far apart.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
