//! A broker that is restarted again and again: how soon each restart is recovered from.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep};
use url::Url;

use crate::TURN;
use crate::figures::{Taken, assert_exact};
use crate::harness::{Client, DEADLINE, Deployment, OwnPostgres, OwnRabbit, eventually};
use crate::sender::{Sender, endless};

/// Deliveries per second.
const RATE: f64 = 50.0;
/// From the moment that the broker's port is open.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn three_restarts_of_the_broker_are_each_recovered_from_in_seconds() {
    restart(3).await;
}

#[tokio::test]
#[ignore = "takes half an hour: make fire-restarts"]
async fn a_hundred_restarts_of_the_broker_are_each_recovered_from_in_seconds() {
    restart(100).await;
}

/// How long one recovery took, from the port being open.
struct Recovery {
    /// Until the receiver said that the broker is up.
    up: Duration,
    /// Until it took a delivery in its stead.
    accepted: Duration,
}

async fn restart(times: usize) {
    let _turn = TURN.lock().await;
    let (rabbit, postgres) = tokio::join!(OwnRabbit::start(), OwnPostgres::start());
    let deployment = Deployment::server_on(&rabbit.url, &postgres.url).await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    let worker = deployment.start(&["work"]).await;
    let sender = Sender::start(receiver.public(), endless(33, 1), RATE);
    eventually("the load runs", async || {
        client.metric(worker.admin, "treehook_events_applied_total").await > 50
    })
    .await;
    let mut recoveries = Vec::new();
    for round in 0..times {
        // A crash, then a restart in good order, and so on.
        if round % 2 == 0 {
            rabbit.kill().await;
        } else {
            rabbit.stop().await;
        }
        // The last thread of a killed server may hold the port for a moment.
        eventually("the broker is gone", async || {
            !is_open(&rabbit).await
                && client.metric(receiver.admin, "treehook_broker_up").await == 0
        })
        .await;
        let (recovery, ()) =
            tokio::join!(recover(&client, receiver.admin, &rabbit), rabbit.restart());
        println!(
            "restart {}: up after {} ms, accepting after {} ms",
            round + 1,
            recovery.up.as_millis(),
            recovery.accepted.as_millis()
        );
        recoveries.push(recovery);
        // The relay and the worker are in the middle of it when it goes again.
        sleep(Duration::from_secs(1)).await;
    }
    let run = sender.end().await;
    assert_exact(&run, &client, worker.admin).await;
    let up = summary(recoveries.iter().map(|recovery| recovery.up));
    let accepted = summary(recoveries.iter().map(|recovery| recovery.accepted));
    println!(
        "{times} restarts: up after {up}, accepting after {accepted}; {} events exact",
        run.expected.events
    );
    eventually("the outbox drained", async || {
        client.metric(receiver.admin, "treehook_outbox_events").await == 0
    })
    .await;
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    deployment.output(&["verify"]).await;
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    for (round, recovery) in recoveries.iter().enumerate() {
        assert!(recovery.accepted <= RECOVERED_WITHIN, "restart {}", round + 1);
    }
    deployment.end().await;
    rabbit.end().await;
    postgres.end().await;
}

/// Watches a broker that starts and a receiver that finds it again.
async fn recover(client: &Client, receiver: SocketAddr, rabbit: &OwnRabbit) -> Recovery {
    let mut tick = interval(Duration::from_millis(5));
    while !is_open(rabbit).await {
        tick.tick().await;
    }
    let open = Instant::now();
    let before = Taken::by(client, receiver).await.accepted;
    let mut up = None;
    loop {
        tick.tick().await;
        if up.is_none() && client.metric(receiver, "treehook_broker_up").await == 1 {
            up = Some(open.elapsed());
        }
        if let Some(up) = up
            && Taken::by(client, receiver).await.accepted > before
        {
            return Recovery { up, accepted: open.elapsed() };
        }
        assert!(open.elapsed() < DEADLINE, "never recovered");
    }
}

async fn is_open(rabbit: &OwnRabbit) -> bool {
    let port = Url::parse(&rabbit.url).unwrap().port().unwrap();
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// Median and longest.
fn summary(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<u128> = times.map(|time| time.as_millis()).collect();
    times.sort_unstable();
    format!("{} ms (median), {} ms (longest)", times[times.len() / 2], times[times.len() - 1])
}
