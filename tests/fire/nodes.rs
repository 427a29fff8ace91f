//! A cluster of three RabbitMQ nodes that loses one, in each way there is, while traffic flows.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use crate::TURN;
use crate::balancer::Balancer;
use crate::cluster::Cluster;
use crate::figures::{Taken, assert_exact};
use crate::harness::process::Process;
use crate::harness::{Client, Deployment, OwnPostgres, eventually};
use crate::sender::{Sender, endless};

/// Deliveries per second, of 3 events each.
const RATE: f64 = 100.0;
/// How long what a loss does is watched: several times what it should take.
const WATCHED: Duration = Duration::from_secs(30);
/// How long deliveries may go to the outbox once a node is lost: as long as it takes to notice and
/// to elect, with the confirm that is waited for before (2 s) and a connection to a node that hangs
/// (5 s), each perhaps twice.
const SPOOLED_MAX: Duration = Duration::from_secs(20);

/// How one node is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// It is killed.
    Killed,
    /// It runs, and the others cannot reach it.
    Parted,
    /// It hangs.
    Frozen,
}

#[tokio::test]
#[ignore = "takes more than a minute: make fire-cluster"]
async fn the_leader_killed_under_load_costs_seconds_and_no_event() {
    lose_the_leader(Loss::Killed).await;
}

#[tokio::test]
#[ignore = "takes more than a minute: make fire-cluster"]
async fn a_leader_in_the_minority_costs_seconds_and_no_event() {
    lose_the_leader(Loss::Parted).await;
}

#[tokio::test]
#[ignore = "takes more than a minute: make fire-cluster"]
async fn a_leader_that_hangs_costs_seconds_and_no_event() {
    lose_the_leader(Loss::Frozen).await;
}

/// Two receivers and two workers, each led to another node first.
struct Fleet {
    deployment: Deployment,
    receivers: Vec<Process>,
    workers: Vec<Process>,
    _balancers: Vec<Balancer>,
}

impl Fleet {
    async fn start(cluster: &Cluster, postgres: &OwnPostgres) -> Self {
        let mut deployment = Deployment::server_on(&cluster.nodes[0].url, &postgres.url).await;
        // Small steps, so that what happens finds messages in hand.
        deployment.set("TREEHOOK_PREFETCH", "32");
        let (mut receivers, mut workers, mut balancers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, role) in ["receive", "receive", "work", "work"].into_iter().enumerate() {
            let balancer = cluster.balancer(number % 3).await;
            let url = format!("amqp://guest:guest@{}/%2f", balancer.address);
            let dir = deployment.other_dir(&format!("data{number}")).display().to_string();
            let more = [("TREEHOOK_AMQP_URL", url.as_str()), ("TREEHOOK_DATA_DIR", &dir)];
            let process = deployment.start_with(&[role], &more).await;
            if role == "receive" {
                receivers.push(process);
            } else {
                workers.push(process);
            }
            balancers.push(balancer);
        }
        Self { deployment, receivers, workers, _balancers: balancers }
    }

    fn queue(&self) -> String {
        format!("{}aggregate", self.deployment.environment["TREEHOOK_AMQP_PREFIX"])
    }

    async fn everybody_is_connected(&self, client: &Client) {
        for process in self.receivers.iter().chain(&self.workers) {
            eventually("the broker is up", async || {
                client.metric(process.admin, "treehook_broker_up").await == 1
            })
            .await;
        }
    }

    /// How long after `since` a delivery went to an outbox last, and how many did.
    async fn spooled_for(&self, client: &Client, since: Instant) -> (Duration, u64) {
        let mut before = Vec::new();
        for receiver in &self.receivers {
            before.push(Taken::by(client, receiver.admin).await);
        }
        let (mut latest, mut known) = (Duration::ZERO, before.clone());
        let mut tick = interval(Duration::from_millis(50));
        while since.elapsed() < WATCHED {
            tick.tick().await;
            for (receiver, known) in self.receivers.iter().zip(&mut known) {
                let now = Taken::by(client, receiver.admin).await;
                if now.spooled > known.spooled {
                    latest = since.elapsed();
                }
                *known = now;
            }
        }
        let spooled = known.iter().zip(&before).map(|(now, then)| now.spooled - then.spooled).sum();
        for (now, then) in known.iter().zip(&before) {
            assert!(now.accepted > then.accepted, "a receiver never came back to the broker");
        }
        (latest, spooled)
    }
}

async fn lose_the_leader(loss: Loss) {
    let _turn = TURN.lock().await;
    let (cluster, postgres) = tokio::join!(Cluster::start(), OwnPostgres::start());
    let fleet = Fleet::start(&cluster, &postgres).await;
    let client = Client::new();
    fleet.everybody_is_connected(&client).await;
    let addresses = fleet.receivers.iter().map(Process::public).collect();
    let front = Balancer::before(addresses).await;
    let sender = Sender::start(front.address, endless(31, 3), RATE);
    let admin = fleet.workers[0].admin;
    eventually("the load runs", async || {
        client.metric(admin, "treehook_events_applied_total").await > 300
    })
    .await;

    let leader = cluster.leader_of(&fleet.queue(), 0).await;
    let started = Instant::now();
    match loss {
        Loss::Killed => cluster.nodes[leader].kill().await,
        Loss::Parted => cluster.part(leader).await,
        Loss::Frozen => cluster.freeze(leader, true).await,
    }
    let took = started.elapsed();
    let (spooled_for, spooled) = fleet.spooled_for(&client, started).await;
    println!(
        "the leader was lost ({loss:?}, which took {} ms): the last of {spooled} deliveries was \
         spooled {} ms later",
        took.as_millis(),
        spooled_for.as_millis()
    );
    let other = (leader + 1) % 3;
    assert_ne!(cluster.leader_of(&fleet.queue(), other).await, leader, "another one leads");
    match loss {
        Loss::Killed => cluster.nodes[leader].restart().await,
        Loss::Parted => cluster.rejoin(leader).await,
        Loss::Frozen => cluster.freeze(leader, false).await,
    }
    // Some traffic on the whole cluster again.
    sleep(Duration::from_secs(10)).await;
    let run = sender.end().await;
    fleet.everybody_is_connected(&client).await;
    assert_exact(&run, &client, admin).await;
    println!("{} events count exactly", run.expected.events);
    for receiver in &fleet.receivers {
        eventually("the outbox drained", async || {
            client.metric(receiver.admin, "treehook_outbox_events").await == 0
        })
        .await;
    }
    assert_eq!(fleet.deployment.output(&["dead", "list"]).await, "no dead letters\n");
    fleet.deployment.output(&["verify"]).await;
    for process in fleet.receivers.into_iter().chain(fleet.workers) {
        assert_eq!(process.terminate().await, 0);
    }
    fleet.deployment.end().await;
    assert!(spooled_for < SPOOLED_MAX, "the broker was not used again for {spooled_for:?}");
    cluster.end().await;
    postgres.end().await;
}
