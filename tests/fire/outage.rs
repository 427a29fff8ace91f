//! Postgres is away for many minutes, and RabbitMQ takes back what is held for longer than half a minute.

use std::time::Duration;

use tokio::time::sleep;

use crate::TURN;
use crate::figures::{assert_exact, resident_mib};
use crate::harness::process::Process;
use crate::harness::{Client, Deployment, OwnPostgres, OwnRabbit, eventually};
use crate::sender::{Sender, endless};

/// In milliseconds; the default is half an hour.
const CONF: &str = "consumer_timeout = 30000";
/// How long a worker may hold a batch: well below.
const HOLD: &str = "10s";
/// Deliveries per second, of one event each.
const RATE: f64 = 100.0;
/// By how much the memory of a process may differ, in MiB.
const FLAT_WITHIN: u64 = 20;
/// How long traffic flows before memory is looked at first: pools and caches fill.
const WARM_UP: Duration = Duration::from_secs(15);

#[tokio::test]
#[ignore = "takes minutes: make fire-outage MINUTES=10"]
async fn a_long_outage_of_postgres_costs_no_event_and_no_memory() {
    let minutes = std::env::var("TREEHOOK_FIRE_MINUTES").map_or(3, |text| text.parse().unwrap());
    without_postgres_for(Duration::from_mins(minutes)).await;
}

async fn without_postgres_for(outage: Duration) {
    let _turn = TURN.lock().await;
    let (rabbit, postgres) =
        tokio::join!(OwnRabbit::start_with(&[("RABBITMQ_CONF_LINES", CONF)]), OwnPostgres::start());
    let mut deployment = Deployment::server_on(&rabbit.url, &postgres.url).await;
    deployment.set("TREEHOOK_HOLD", HOLD);
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    let workers = [deployment.start(&["work"]).await, deployment.start(&["work"]).await];
    let sender = Sender::start(receiver.public(), endless(32, 1), RATE);
    let processes = [&receiver, &workers[0], &workers[1]];
    eventually("the load runs", async || {
        client.metric(workers[0].admin, "treehook_events_applied_total").await > 300
    })
    .await;
    sleep(WARM_UP).await;

    let mut memory = vec![look(&processes)];
    postgres.stop().await;
    for _ in 0..2 {
        sleep(outage / 2).await;
        memory.push(look(&processes));
    }
    let in_time_out = timed_out(&rabbit);
    postgres.restart().await;
    let run = sender.end().await;
    assert_exact(&run, &client, workers[0].admin).await;
    memory.push(look(&processes));
    println!(
        "Postgres was away for {} s while {} events came; MiB of receiver and workers before, in \
         the middle, at the end and once all was counted: {memory:?}; RabbitMQ took {in_time_out} \
         batches away",
        outage.as_secs(),
        run.expected.events
    );
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    deployment.output(&["verify"]).await;
    assert_eq!(in_time_out, 0, "a batch was held for longer than RabbitMQ allows");
    for later in &memory[1..3] {
        for (then, now) in memory[0].iter().zip(later) {
            assert!(now.abs_diff(*then) <= FLAT_WITHIN, "memory is not flat: {memory:?}");
        }
    }
    for process in [receiver].into_iter().chain(workers) {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    rabbit.end().await;
    postgres.end().await;
}

fn look(processes: &[&Process; 3]) -> [u64; 3] {
    processes.map(|process| resident_mib(process.id()))
}

/// How often RabbitMQ closed a channel because something on it was not acknowledged in time.
fn timed_out(rabbit: &OwnRabbit) -> usize {
    let log = std::fs::read_to_string(rabbit.server().join("log/rabbitmq.log")).unwrap();
    let is_it = |line: &&str| line.contains("acknowledgement") && line.contains("timed out");
    log.lines().filter(is_it).count()
}
