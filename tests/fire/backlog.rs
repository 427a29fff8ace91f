//! The broker is away for minutes under a heavy load: how senders fare meanwhile, and how soon all is made up for.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use treehook_simulator::{LoadReport, Progress, Traffic};

use crate::TURN;
use crate::figures::{applied, assert_exact};
use crate::harness::{self, Client, Deployment, OwnPostgres, OwnRabbit, eventually};
use crate::sender::{endless, load};
use crate::traffic::Run;

/// Deliveries per second, of one event each.
const RATE: f64 = 500.0;
/// How long the load is watched before anything happens.
const NORMAL: Duration = Duration::from_mins(1);
/// By how much the slowest answers may be slower without a broker.
const SLOWER_AT_MOST: u64 = 2;
/// Below this many microseconds it is the machine that is measured.
const NOISE_MICROS: u64 = 20_000;

#[tokio::test]
#[ignore = "takes minutes and a quiet machine: make fire-backlog MINUTES=10"]
async fn minutes_without_a_broker_slow_no_sender_down_and_are_made_up_for_under_load() {
    let minutes = std::env::var("TREEHOOK_FIRE_MINUTES").map_or(1, |text| text.parse().unwrap());
    without_broker_for(Duration::from_mins(minutes)).await;
}

async fn without_broker_for(outage: Duration) {
    let _turn = TURN.lock().await;
    let (rabbit, postgres) = tokio::join!(OwnRabbit::start(), OwnPostgres::start());
    let deployment = Deployment::server_on(&rabbit.url, &postgres.url).await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    let worker = deployment.start(&["work"]).await;
    let mut traffic = Traffic::new(endless(34, 1), harness::now()).unwrap().with_expected();
    let door = receiver.public();
    let admins = [receiver.admin, worker.admin];

    // What starts cold says nothing about senders.
    send(&mut traffic, door, Duration::from_secs(5)).await;
    let normal = send(&mut traffic, door, NORMAL).await;
    println!("normal: {}", line(&normal));
    rabbit.stop().await;
    let during = send(&mut traffic, door, outage).await;
    println!("without a broker for {} s: {}", outage.as_secs(), line(&during));
    let stop = CancellationToken::new();
    let making_up = async {
        let how = make_up(&client, admins, &rabbit).await;
        stop.cancel();
        how
    };
    let (meanwhile, how) = tokio::join!(send_until(&mut traffic, door, &stop), making_up);
    println!("while it was made up for: {}\n{how}", line(&meanwhile));
    // Twice, since a machine is not as fast at one time as at another.
    let normal_again = send(&mut traffic, door, NORMAL).await;
    println!("normal again: {}", line(&normal_again));

    let run = Run { report: meanwhile, expected: traffic.expected().unwrap().clone() };
    assert_exact(&run, &client, worker.admin).await;
    println!("{} events count exactly", run.expected.events);
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    deployment.output(&["verify"]).await;
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    rabbit.end().await;
    postgres.end().await;
    for report in [&normal, &during, &run.report, &normal_again] {
        assert_all_good(report);
    }
    let usual = normal.latency_micros.p99.max(normal_again.latency_micros.p99);
    let allowed = (usual * SLOWER_AT_MOST).max(NOISE_MICROS);
    assert!(during.latency_micros.p99 <= allowed, "senders wait longer without a broker");
}

/// Starts the broker again, and waits until what waited meanwhile is out of the outbox and counted;
/// how long each took since the broker was back.
async fn make_up(
    client: &Client,
    [receiver, worker]: [SocketAddr; 2],
    rabbit: &OwnRabbit,
) -> String {
    let counted = applied(client, worker).await;
    let waiting = client.metric(receiver, "treehook_outbox_events").await;
    let is_back = async {
        eventually("the broker is back", async || {
            client.metric(receiver, "treehook_broker_up").await == 1
        })
        .await;
        Instant::now()
    };
    // Its script takes its time to say that all of it stands.
    let ((), back) = tokio::join!(rabbit.restart(), is_back);
    let mut tick = interval(Duration::from_millis(100));
    while client.metric(receiver, "treehook_outbox_events").await > 0 {
        tick.tick().await;
    }
    let replayed = back.elapsed();
    let mut now = counted;
    while now < counted + waiting {
        tick.tick().await;
        now = applied(client, worker).await;
    }
    let took = back.elapsed();
    format!(
        "{waiting} events waited: out of the outbox in {:.1} s ({:.0}/s); {} counted in {:.1} s \
         ({:.0}/s)",
        replayed.as_secs_f64(),
        per_second(waiting, replayed),
        now - counted,
        took.as_secs_f64(),
        per_second(now - counted, took),
    )
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 events")]
fn per_second(events: u64, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

/// One stretch of the traffic.
async fn send(traffic: &mut Traffic, to: SocketAddr, length: Duration) -> LoadReport {
    let mut load = load(to, RATE);
    load.duration = Some(length);
    let (progress, _watched) = watch::channel(Progress::default());
    let never = CancellationToken::new();
    load.run(traffic, &harness::now, &never, &progress).await.unwrap()
}

/// The same until it is told to stop.
async fn send_until(traffic: &mut Traffic, to: SocketAddr, stop: &CancellationToken) -> LoadReport {
    let (progress, _watched) = watch::channel(Progress::default());
    load(to, RATE).run(traffic, &harness::now, stop, &progress).await.unwrap()
}

fn assert_all_good(report: &LoadReport) {
    assert_eq!((report.unanswered, report.accepted_forgeries), (0, 0), "{report:?}");
    assert!(report.by_status.keys().all(|status| [202, 403].contains(status)), "{report:?}");
    assert!(report.errors.is_empty(), "{report:?}");
}

fn line(report: &LoadReport) -> String {
    let latency = report.latency_micros;
    format!(
        "{:.0} answers/s, {:?}, p50 {} us, p95 {} us, p99 {} us, longest {} us",
        report.rate, report.by_status, latency.p50, latency.p95, latency.p99, latency.max
    )
}
