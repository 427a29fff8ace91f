//! The dashboard over a canned month, to look at while working on it: `cargo run -p treehook-console
//! --example preview -- 127.0.0.1:9191 [token or -] [empty]`.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use treehook_console::{
    Access, Actions, BrokerState, Console, DatabaseState, Limits, OutboxDepth, PipelineStatus,
    QueueDepth, router,
};
use treehook_event::{
    AudienceCount, Counts, DeadLetter, Dimension, Event, EventType, HistoryRow, HourCount,
    Identity, Key, LinkId, LinkState, LinkTotal, Milestone, MilestoneRow, Minute, MinuteCount,
    ProfileId, ProfileState, ProfileSummary, Sketch, SourceName, Stamp, Stamped, Timestamp,
    VisitorId,
};

#[path = "../tests/it/fixture.rs"]
mod fixture;
use fixture::{Fixture, remove};

fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

#[expect(clippy::unnecessary_wraps, reason = "the fields of a projection are options")]
fn stamped<T>(value: T) -> Option<Stamped<T>> {
    Some(Stamped { value, stamp: Stamp { at: now(), by: Identity::given("evt") } })
}

fn profile(id: &str, name: &str) -> ProfileSummary {
    let state = ProfileState { display_name: stamped(name.to_owned()), ..ProfileState::default() };
    ProfileSummary { profile_id: ProfileId::trusted(id), state }
}

fn crowd(mut sketch: Sketch, people: u64) -> Sketch {
    (0..people).for_each(|n| sketch.add(VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    sketch
}

/// Busy evenings, quiet nights, a good week in the middle.
fn hours() -> Vec<HourCount> {
    let last = now().hour();
    (0..24 * 90)
        .map(|back| {
            let hour = treehook_event::Hour(last.0 - back);
            let of_day = hour.0.rem_euclid(24);
            let evening = u64::try_from(14 - (of_day - 19).abs().min(12)).unwrap_or(0);
            let bump = if (24 * 12..24 * 19).contains(&back) { 3 } else { 1 };
            let wobble = u64::try_from((hour.0 * 7919).rem_euclid(9)).unwrap_or(0);
            let views = (evening * 4 + wobble * 3) * bump;
            HourCount { hour, views, clicks: views * (30 + wobble) / 100 }
        })
        .rev()
        .collect()
}

/// An hour that picks up.
fn minutes() -> Vec<MinuteCount> {
    let last = now().minute();
    let count = |back: i64| {
        let views = u64::try_from(9 - back / 8 + (last.0 - back) * 7919 % 5).unwrap_or(0);
        MinuteCount { minute: Minute(last.0 - back), counts: Counts { views, clicks: views / 3 } }
    };
    (0..60).rev().map(count).collect()
}

fn links() -> Vec<LinkTotal> {
    [
        ("My shop: prints & stickers", "https://shop.example.com/prints", "commerce", 4210),
        ("New single: \"Harbour Lights\"", "https://music.example.org/harbour", "music", 2984),
        ("<img src=x onerror=alert(1)>", "javascript:alert(1)", "classic", 1203),
        ("Video essay", "https://www.video.example/watch?v=1", "video", 988),
        ("Book a lesson", "https://calendar.example/ada", "scheduling", 412),
        (
            "A title that goes on and on, because nobody told its author that a hundred and fifty \
          characters are rather a lot for a link",
            "https://blog.example/post",
            "classic",
            207,
        ),
        ("Last year's tour", "https://tickets.example/2025", "classic", 31),
    ]
    .into_iter()
    .map(|(title, url, kind, clicks)| LinkTotal {
        link_id: LinkId::trusted(title),
        clicks,
        state: LinkState {
            title: stamped(title.to_owned()),
            url: stamped(Some(url.to_owned())),
            kind: stamped(kind.to_owned()),
            deleted: (clicks == 31).then(|| Stamp { at: now(), by: Identity::given("gone") }),
            ..LinkState::default()
        },
    })
    .collect()
}

fn audience() -> Vec<AudienceCount> {
    use Dimension::{Country, Device, Referrer};
    let rows = [
        (
            Country,
            &[
                ("DE", 3800),
                ("US", 2900),
                ("GB", 1200),
                ("FR", 800),
                ("JP", 400),
                ("BR", 300),
                ("unknown", 635),
            ][..],
        ),
        (
            Referrer,
            &[
                ("instagram.com", 5100),
                ("direct", 2400),
                ("tiktok.com", 1500),
                ("t.co", 600),
                ("unknown", 435),
            ],
        ),
        (Device, &[("mobile", 7600), ("desktop", 1900), ("tablet", 400), ("unknown", 135)]),
    ];
    rows.into_iter()
        .flat_map(|(dimension, values)| {
            values.iter().map(move |(value, clicks)| AudienceCount {
                dimension,
                value: (*value).to_owned(),
                clicks: *clicks,
            })
        })
        .collect()
}

fn milestones() -> Vec<MilestoneRow> {
    [(10_000, "clicks"), (25_000, "views"), (5_000, "clicks")]
        .into_iter()
        .enumerate()
        .map(|(n, (threshold, metric))| MilestoneRow {
            key: Key::of(&SourceName::trusted("preview"), &Identity::given(&n.to_string())),
            milestone: Milestone {
                profile_id: ProfileId::trusted("ada"),
                link_id: None,
                metric: Some(metric.to_owned()),
                threshold: Some(threshold),
                value: None,
            },
            at: now().plus_millis(-86_400_000 * 9 * i64::try_from(n + 1).unwrap_or(1)),
        })
        .collect()
}

/// Titles come, change and go; one of them would like to run.
fn history() -> Vec<HistoryRow> {
    let changes = [
        ("link.deleted", "Last year's tour", "deleted", "{}"),
        (
            "link.updated",
            "New single: \"Harbour Lights\"",
            "updated",
            r#"{"title":"New single: \"Harbour Lights\"","position":0}"#,
        ),
        (
            "link.updated",
            "<img src=x onerror=alert(1)>",
            "updated",
            r#"{"title":"<img src=x onerror=alert(1)>","url":null}"#,
        ),
        (
            "link.created",
            "Video essay",
            "created",
            r#"{"title":"Video essay","url":"https://www.video.example/watch?v=1","type":"video","enabled":true}"#,
        ),
    ];
    (0..30)
        .map(|n: i64| {
            let (kind, link, change, fields) = changes[usize::try_from(n).unwrap_or(0) % 4];
            let identity = Identity::given(&format!("evt_{n}"));
            let source = SourceName::trusted("linktree");
            let link_id = LinkId::trusted(link);
            let detail = format!(
                r#"{{"link":{{"change":"{change}","profile_id":"ada","link_id":{},"fields":{fields}}}}}"#,
                serde_json::Value::from(link),
            );
            HistoryRow {
                at: now().plus_millis(-7_300_000 * (n + 1)),
                key: Key::of(&source, &identity),
                source,
                identity,
                event_type: EventType::trusted(kind),
                link_id: Some(link_id),
                detail,
            }
        })
        .collect()
}

fn dead() -> Vec<DeadLetter> {
    let reasons = ["missing_field:link_id", "future_timestamp", "missing_field:profile_id"];
    let mut letters: Vec<DeadLetter> = (0..130_u32)
        .map(|n| {
            let text = format!("a batch <b>that</b> nobody could read, number {n}");
            let mut event = Event::unreadable(text.as_bytes(), "at line 1, column 1", now());
            event.source = SourceName::trusted(if n % 4 == 0 { "dub" } else { "linktree" });
            let reason = match n {
                0..60 => reasons[n as usize % 3],
                _ => "<script>alert(1)</script>",
            };
            let mut letter =
                DeadLetter::of(&event, reason, now().plus_millis(-60_000 * i64::from(n)));
            letter.event_type = EventType::trusted("link.clicked");
            letter.profile_id = (n % 3 != 2).then(|| ProfileId::trusted("ada"));
            letter.attempts = 1 + n % 3;
            letter
        })
        .collect();
    letters.sort_by_key(DeadLetter::key);
    letters
}

fn status(dead: usize, is_empty: bool) -> PipelineStatus {
    let events = |count| Some(if is_empty { 0 } else { count });
    PipelineStatus {
        accepted: events(48_211),
        applied: events(48_190),
        duplicates: events(512),
        dead: Some(dead as u64),
        outbox: Some(if is_empty {
            OutboxDepth { events: 0, bytes: 0, oldest_seconds: None }
        } else {
            OutboxDepth { events: 21, bytes: 15_320, oldest_seconds: Some(4.2) }
        }),
        queue: events(2).map(QueueDepth::Messages),
        lag_seconds: Some(if is_empty { 0.0 } else { 0.41 }),
        broker: BrokerState::Up,
        database: DatabaseState::Up,
    }
}

fn full() -> Fixture {
    let links = links();
    Fixture {
        profiles: vec![profile("ada", "Ada Example"), profile("grace", "Grace & the Compilers")],
        hours: hours(),
        minutes: minutes(),
        link_visitors: links
            .iter()
            .map(|link| (link.link_id.clone(), crowd(Sketch::for_link(), link.clicks * 7 / 10)))
            .collect(),
        links,
        visitors: Some(crowd(Sketch::for_profile(), 18_400)),
        audience: audience(),
        milestones: milestones(),
        history: history(),
        dead: Arc::new(Mutex::new(dead())),
        ..Fixture::default()
    }
}

/// Where to look: the browser tests wait for this line, and take any port.
fn announce(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes())?;
    out.flush()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = arguments.first().map_or("127.0.0.1:9191", String::as_str);
    let listener = tokio::net::TcpListener::bind(address).await?;
    announce(&format!("http://{}\n", listener.local_addr()?))?;
    let token = arguments.get(1).map(String::as_str).filter(|token| *token != "-");
    let access = Access::of(token, listener.local_addr()?).map_err(std::io::Error::other)?;
    let is_empty = arguments.get(2).is_some_and(|word| word == "empty");
    let store = if is_empty { Fixture::default() } else { full() };
    let (redriven, counted) = (store.dead.clone(), store.dead.clone());
    let actions = Actions::redriving(move |letters: Vec<DeadLetter>| {
        let read: Vec<_> = letters.iter().map(|letter| (letter.key(), letter.attempts)).collect();
        remove(&redriven, &read);
        async { Ok(()) }
    });
    let ask = move || {
        let dead = counted.lock().map_or(0, |dead| dead.len());
        async move { status(dead, is_empty) }
    };
    let console = Console::new(store, access, Limits::default(), actions, now, ask);
    axum::serve(listener, router(console)).await
}
