//! A load signs what it sends, insists where platforms insist, and counts what came of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use server::{Answer, Seen, Server};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use treehook_event::{
    Claim, Found, Platform, Rejection, Scheme, SigningKey, Source, SourceName, Timestamp, verify,
};
use treehook_simulator::{
    Load, LoadReport, Progress, RetryPolicy, Signer, Target, Traffic, TrafficPlan,
};

const NOW: i64 = 1_790_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(b"key")
}

fn load(url: &str, scheme: Scheme) -> Load {
    Load::new(Target::parse(url).unwrap(), Signer::new(scheme, key()).unwrap())
}

fn plan(events: u64) -> TrafficPlan {
    TrafficPlan { events: Some(events), ..TrafficPlan::default() }
}

/// Runs to the end of the traffic; every request is signed a second after the one before.
async fn run(load: &Load, plan: TrafficPlan) -> LoadReport {
    let mut traffic = Traffic::new(plan, Timestamp::from_seconds(NOW)).unwrap();
    let seconds = AtomicI64::new(NOW);
    let clock = || Timestamp::from_seconds(seconds.fetch_add(1, Ordering::Relaxed));
    let (progress, _) = watch::channel(Progress::default());
    load.run(&mut traffic, &clock, &CancellationToken::new(), &progress).await.unwrap()
}

/// As a receiver with this scheme answers.
fn judged(scheme: Scheme, seen: &Seen) -> Answer {
    let source = Source {
        name: SourceName::new("s").unwrap(),
        scheme,
        keys: vec![key()],
        tolerance_seconds: 3600,
    };
    let find =
        |name: &str| seen.headers.get(name).map_or(Found::Absent, |v| Found::Once(v.as_bytes()));
    let now = Timestamp::from_seconds(NOW);
    let verdict = Claim::read(&source.scheme, find)
        .and_then(|claim| verify(&source, &claim, &seen.body, now).map(|_| ()));
    match verdict {
        Ok(()) => Answer::Status(202),
        Err(Rejection::MissingSignature) => Answer::Status(401),
        Err(_) => Answer::Status(403),
    }
}

#[tokio::test]
async fn every_scheme_is_signed_and_forgeries_are_not() {
    let schemes: [(Platform, fn() -> Scheme); 3] = [
        (Platform::Linktree, Scheme::linktree),
        (Platform::Dub, Scheme::dub),
        (Platform::Standard, Scheme::standard),
    ];
    for (platform, scheme) in schemes {
        let server = Server::start(move |_, seen| judged(scheme(), seen)).await;
        let plan = TrafficPlan { platform, bad_signatures: 0.1, duplicates: 0.1, ..plan(300) };
        let report = run(&load(&server.url(), scheme()), plan).await;
        assert_eq!(report.accepted_events, 300, "{platform:?}");
        assert_eq!(report.by_status[&202], 300 + report.accepted_repeats);
        assert!(report.by_status[&403] > 10);
        assert!(report.accepted_repeats > 10);
        assert_eq!((report.accepted_forgeries, report.unanswered), (0, 0));
        assert_eq!(report.sent, report.by_status.values().sum::<u64>());
        let latency = report.latency_micros;
        assert!(latency.p50 > 0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
        let first = &server.seen()[0];
        assert_eq!(first.path, "/webhooks/linktree");
        assert_eq!(first.headers["content-type"], "application/json");
        assert_eq!(first.headers["host"], server.address.to_string());
    }
}

#[tokio::test]
async fn a_retry_keeps_its_identity_and_is_signed_anew() {
    let server =
        Server::start(|number, _| Answer::Status(if number < 2 { 503 } else { 202 })).await;
    let retries = RetryPolicy::platform(0.0001).unwrap();
    let load = Load { retries, connections: 1, ..load(&server.url(), Scheme::standard()) };
    let plan = TrafficPlan { platform: Platform::Standard, ..plan(1) };
    let report = run(&load, plan).await;
    assert_eq!((report.by_status[&503], report.by_status[&202]), (2, 1));
    assert_eq!((report.retries, report.accepted_events, report.unanswered), (2, 1, 0));
    let seen = server.seen();
    let distinct = |of: fn(&Seen) -> String| seen.iter().map(of).collect::<HashSet<_>>().len();
    assert_eq!(distinct(|seen| seen.headers["webhook-id"].clone()), 1);
    assert_eq!(distinct(|seen| format!("{:?}", seen.body)), 1);
    assert_eq!(distinct(|seen| seen.headers["webhook-timestamp"].clone()), 3);
    assert_eq!(distinct(|seen| seen.headers["webhook-signature"].clone()), 3);
}

#[tokio::test]
async fn what_is_never_accepted_is_named() {
    let server = Server::start(|_, _| Answer::Status(503)).await;
    let once = load(&server.url(), Scheme::linktree());
    let report = run(&once, plan(150)).await;
    assert_eq!((report.sent, report.retries, report.unanswered), (150, 0, 150));
    assert_eq!(report.unanswered_ids.len(), 100);
    assert!(report.unanswered_ids.contains(&"msg_1_0".to_owned()));

    let stubborn = Load { retries: RetryPolicy::platform(0.0001).unwrap(), ..once };
    let report = run(&stubborn, plan(10)).await;
    assert_eq!((report.sent, report.retries, report.unanswered), (60, 50, 10));
}

#[tokio::test]
async fn silence_ends_with_a_time_out() {
    let server =
        Server::start(|number, _| if number == 0 { Answer::Never } else { Answer::Status(202) })
            .await;
    let load = Load {
        connections: 1,
        request_timeout: Duration::from_millis(100),
        retries: RetryPolicy::platform(0.0001).unwrap(),
        ..load(&server.url(), Scheme::linktree())
    };
    let report = run(&load, plan(5)).await;
    assert_eq!(report.errors["timeout"], 1);
    assert_eq!((report.accepted_events, report.unanswered), (5, 0));
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let server = Server::start(|_, _| Answer::LastStatus(202)).await;
    let report = run(&load(&server.url(), Scheme::linktree()), plan(50)).await;
    assert_eq!(report.accepted_events, 50);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn nobody_there_is_an_error_of_its_own() {
    let gone = Server::start(|_, _| Answer::Never).await.url();
    let report = run(&load(&gone, Scheme::linktree()), plan(8)).await;
    assert_eq!(report.errors["connect"], 8, "{report:?}");
    assert_eq!((report.accepted_events, report.unanswered), (0, 8));
}

#[tokio::test]
async fn a_rate_is_kept_and_the_duration_ends_it() {
    let server = Server::start(|_, _| Answer::Status(202)).await;
    let load = Load {
        rate: Some(200.0),
        duration: Some(Duration::from_millis(500)),
        ..load(&server.url(), Scheme::linktree())
    };
    let plan = TrafficPlan { events: None, days: 0, ..TrafficPlan::default() };
    let report = run(&load, plan).await;
    // 100 are due; a busy machine may make them late, never more.
    assert!((50..=102).contains(&report.sent), "{}", report.sent);
    assert!(report.elapsed_seconds >= 0.45);
    assert_eq!(report.unanswered, 0);
}

#[tokio::test]
async fn being_stopped_waits_for_no_retry() {
    let server = Server::start(|_, _| Answer::Status(503)).await;
    let load = Load {
        connections: 2,
        retries: RetryPolicy::platform(1.0).unwrap(),
        ..load(&server.url(), Scheme::linktree())
    };
    let mut traffic = Traffic::new(plan(4), Timestamp::from_seconds(NOW)).unwrap();
    let stop = CancellationToken::new();
    let (progress, mut watched) = watch::channel(Progress::default());
    let started = Instant::now();
    let clock = || Timestamp::from_seconds(NOW);
    let stopping = async {
        watched.wait_for(|progress| progress.requests >= 1).await.unwrap();
        stop.cancel();
    };
    let (report, ()) = tokio::join!(load.run(&mut traffic, &clock, &stop, &progress), stopping);
    let report = report.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(report.unanswered >= 1 && report.unanswered == report.sent);
    assert_eq!(watched.borrow().requests, report.sent);
}

#[tokio::test]
async fn a_load_that_cannot_be_is_refused() {
    let server = Server::start(|_, _| Answer::Never).await;
    let good = load(&server.url(), Scheme::linktree());
    for (bad, setting) in [
        (Load { connections: 0, ..good.clone() }, "concurrency"),
        (Load { rate: Some(0.0), ..good.clone() }, "rate"),
        (Load { request_timeout: Duration::ZERO, ..good.clone() }, "request time-out"),
    ] {
        assert_eq!(bad.check().unwrap_err().setting, setting);
    }
}

#[tokio::test]
async fn a_report_is_json() {
    let server = Server::start(|_, _| Answer::Status(202)).await;
    let report = run(&load(&server.url(), Scheme::linktree()), plan(3)).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["by_status"]["202"], 3);
    assert!(json["latency_micros"]["p99"].is_u64());
}

#[tokio::test]
async fn a_load_can_run_in_a_task_of_its_own() {
    let server = Server::start(|_, _| Answer::Status(202)).await;
    let load = load(&server.url(), Scheme::linktree());
    let started = Timestamp::from_seconds(NOW);
    let task = tokio::spawn(async move {
        let mut traffic = Traffic::new(plan(20), started).unwrap();
        let (progress, _) = watch::channel(Progress::default());
        load.run(&mut traffic, &|| started, &CancellationToken::new(), &progress).await
    });
    assert_eq!(task.await.unwrap().unwrap().accepted_events, 20);
}
