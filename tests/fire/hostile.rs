//! Peers who mean harm, by the thousand: good traffic goes on. They have a thread of their own, so that those who mean
//! well wait for the receiver and not for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use treehook_simulator::{LoadReport, Progress, RetryPolicy, Traffic};

use crate::TURN;
use crate::harness::{self, Client, Deployment, eventually};
use crate::sender::{endless, load};

/// Deliveries per second of those who mean well.
const RATE: f64 = 50.0;
/// Connections of those who do not.
const IDLE: usize = 10_000;
const SLOW: usize = 1000;
/// Addresses that they come from. Each connection takes a port of its address for a minute: those of a single one would
/// soon be used up, and good traffic with them.
const HOMES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];
/// When whoever is turned out comes back. At once, they would keep the kernel's backlog full on a fast machine, and whether
/// a newcomer finds a place there would be the kernel's choice alone.
const COMES_BACK_AFTER: Duration = Duration::from_millis(250);
/// What a receiver publishes of its own accord meanwhile, at most: each second what it has promised.
const STATEMENTS: u64 = 30;
/// Files that the test itself needs where no more are allowed than connections would take.
const FILES_FOR_THE_REST: usize = 300;
/// Longest wait of 99 in 100 deliveries that have to come in through a crowd: a connection that the kernel
/// does not take at once is asked for again after 1 s, then 2 s, and then 4 s.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let _turn = TURN.lock().await;
    let deployment = Deployment::embedded();
    let treehook = deployment.start(&["serve"]).await;
    let door = treehook.public();
    let before = good_traffic(door, Duration::from_secs(3), 1).await;
    let stop = CancellationToken::new();
    let mut crowd = JoinSet::new();
    let idle = IDLE.min(files_allowed("self") - FILES_FOR_THE_REST);
    for number in 0..idle {
        // Some say nothing, some begin and never end.
        let opening: &[u8] = if number % 2 == 0 { b"" } else { b"POST /webhooks/lin" };
        let home = HOMES[number % HOMES.len()];
        crowd.spawn(sit(door, home, opening, stop.clone()));
    }
    let during = good_traffic(door, Duration::from_secs(15), 2).await;
    // Somebody who was not there before gets in as well.
    let came = Instant::now();
    let newcomer = good_traffic(door, Duration::from_secs(1), 3).await;
    println!(
        "{idle} idle connections: p99 {} us before, {} us during, {} us for newcomers after {} ms",
        before.latency_micros.p99,
        during.latency_micros.p99,
        newcomer.latency_micros.p99,
        came.elapsed().as_millis()
    );
    stop.cancel();
    while crowd.join_next().await.is_some() {}
    for report in [&before, &during, &newcomer] {
        assert_undisturbed(report);
        assert!(u128::from(report.latency_micros.p99) < PATIENCE.as_micros(), "{report:?}");
    }
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_process_asks_for_as_many_files_as_it_may_have() {
    let deployment = Deployment::embedded();
    let mut child = Command::new("sh")
        .args(["-c", r#"ulimit -Sn 512; exec "$0" serve"#, env!("CARGO_BIN_EXE_treehook")])
        .envs(&deployment.environment)
        .current_dir(deployment.other_dir(""))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let id = child.id().expect("it runs").to_string();
    eventually("it asks for more", async || files_allowed(&id) > 512).await;
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thousand_senders_that_drip_keep_nobody_out() {
    let _turn = TURN.lock().await;
    let deployment = Deployment::embedded();
    let treehook = deployment.start(&["serve"]).await;
    let door = treehook.public();
    let before = good_traffic(door, Duration::from_secs(3), 1).await;
    let stop = CancellationToken::new();
    let mut crowd = JoinSet::new();
    for number in 0..SLOW {
        let head = "POST /webhooks/linktree HTTP/1.1\r\nhost: t\r\n";
        let opening = match number % 3 {
            // A header a second, for ever.
            0 => head.to_owned(),
            // A body, a byte a second.
            1 => format!(
                "{head}content-length: 1000\r\nx-linktree-signature: 00\r\nx-linktree-timestamp: 1\r\n\r\n"
            ),
            // The same, its length not told.
            _ => format!(
                "{head}transfer-encoding: chunked\r\nx-linktree-signature: 00\r\nx-linktree-timestamp: 1\r\n\r\n"
            ),
        };
        let drop: &[u8] = [&b"x-a: b\r\n"[..], b" ", b"1\r\n \r\n"][number % 3];
        crowd.spawn(drip(door, opening, drop, stop.clone()));
    }
    let during = good_traffic(door, Duration::from_secs(15), 2).await;
    println!(
        "{SLOW} slow senders: p99 {} us before, {} us during",
        before.latency_micros.p99, during.latency_micros.p99
    );
    stop.cancel();
    let mut longest = Duration::ZERO;
    while let Some(lasted) = crowd.join_next().await {
        longest = longest.max(lasted.unwrap());
    }
    // 10 s for headers or a body, and a little for a crowded machine.
    assert!(longest < Duration::from_secs(14), "a slow sender was borne for {longest:?}");
    for report in [&before, &during] {
        assert_undisturbed(report);
    }
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_of_bad_signatures_reaches_neither_queue_nor_database() {
    let _turn = TURN.lock().await;
    let deployment = Deployment::server().await;
    let client = Client::new();
    let treehook = deployment.start(&["receive"]).await;
    let door = treehook.public();
    eventually("the broker is up", async || {
        client.metric(treehook.admin, "treehook_broker_up").await == 1
    })
    .await;
    let before = good_traffic(door, Duration::from_secs(5), 1).await;
    let published = published(&client, treehook.admin).await;
    let stop = CancellationToken::new();
    let mut crowd = JoinSet::new();
    for _ in 0..16 {
        crowd.spawn(forge(door, stop.clone()));
    }
    let during = good_traffic(door, Duration::from_secs(10), 2).await;
    stop.cancel();
    let mut refused = 0;
    while let Some(count) = crowd.join_next().await {
        refused += count.unwrap();
    }
    let more = self::published(&client, treehook.admin).await - published;
    println!(
        "{refused} forgeries in 10 s: p99 {} us before, {} us during; {more} publishes for {} good \
         deliveries",
        before.latency_micros.p99, during.latency_micros.p99, during.accepted_deliveries
    );
    assert!(refused > 1000, "no flood: {refused}");
    let good = during.accepted_deliveries + during.accepted_repeats;
    assert!(more <= good + STATEMENTS, "forgeries are published");
    for report in [&before, &during] {
        assert_undisturbed(report);
    }
    // Loosely: the flood takes the cores that the door is measured on.
    let allowed = (before.latency_micros.p99 * 3).max(500_000);
    assert!(during.latency_micros.p99 < allowed, "{during:?}");
    assert_eq!(treehook.terminate().await, 0);
    // Nobody works here: what came is still in the queue, and goes with it.
    deployment.end().await;
}

/// How many publishes the broker has confirmed.
async fn published(client: &Client, admin: SocketAddr) -> u64 {
    client.metric(admin, "treehook_publish_confirm_seconds_count").await
}

/// Those who mean well. One in a hundred may need a second try, since a crowded kernel drops the request for a
/// connection now and then, and nobody needs a third.
async fn good_traffic(door: SocketAddr, length: Duration, seed: u64) -> LoadReport {
    let mut traffic = Traffic::new(endless(seed, 1), harness::now()).unwrap();
    let mut load = load(door, RATE);
    load.connections = 16;
    load.duration = Some(length);
    load.retries = RetryPolicy::Platform { delays: vec![Duration::from_millis(500)] };
    let (progress, _watched) = watch::channel(Progress::default());
    let never = CancellationToken::new();
    load.run(&mut traffic, &harness::now, &never, &progress).await.unwrap()
}

fn assert_undisturbed(report: &LoadReport) {
    assert_eq!(report.unanswered, 0, "{report:?}");
    assert!(report.by_status.keys().all(|status| [202, 403].contains(status)), "{report:?}");
    let failed: u64 = report.errors.values().sum();
    assert!(failed <= report.sent.div_ceil(100), "{report:?}");
}

/// How many files a process may open: where it is 1,024 for the test, the crowd is smaller.
fn files_allowed(process: &str) -> usize {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

/// Connects and stays, and comes again when it is shown the door.
async fn sit(door: SocketAddr, home: Ipv4Addr, opening: &[u8], stop: CancellationToken) {
    let sitting = async {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((home, 0).into()).unwrap();
            if let Ok(mut stream) = socket.connect(door).await
                && stream.write_all(opening).await.is_ok()
            {
                // Whatever it says, the end of it is what counts.
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
            sleep(COMES_BACK_AFTER).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => (),
        () = sitting => (),
    }
}

/// Sends a drop a second until it is hung up on; how long it was borne.
async fn drip(
    door: SocketAddr,
    opening: String,
    drop: &'static [u8],
    stop: CancellationToken,
) -> Duration {
    let Ok(mut stream) = TcpStream::connect(door).await else { return Duration::ZERO };
    let started = Instant::now();
    if stream.write_all(opening.as_bytes()).await.is_err() {
        return started.elapsed();
    }
    let mut tick = interval(Duration::from_secs(1));
    let mut answer = [0; 1024];
    while !stop.is_cancelled() {
        tick.tick().await;
        if stream.write_all(drop).await.is_err() {
            break;
        }
        // An answer, or the end.
        if timeout(Duration::from_millis(1), stream.read(&mut answer)).await.is_ok() {
            break;
        }
    }
    started.elapsed()
}

/// Sends deliveries with a wrong signature, one after the other; how many were refused.
async fn forge(door: SocketAddr, stop: CancellationToken) -> u64 {
    let mut stream = TcpStream::connect(door).await.unwrap();
    let body = "x".repeat(500);
    let (signature, now) = ("0".repeat(64), harness::now().as_seconds());
    let request = format!(
        "POST /webhooks/linktree HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\
         x-linktree-signature: {signature}\r\nx-linktree-timestamp: {now}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = vec![0; 4096];
    let mut refused = 0;
    while !stop.is_cancelled() {
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 403 "), "{refused} were refused before");
        refused += 1;
    }
    refused
}
