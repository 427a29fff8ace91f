//! Receivers, workers, a RabbitMQ and a Postgres that are killed, cut off, stalled and restarted under
//! traffic: at the end every event counts exactly once.
//!
//! `make chaos SEED=1 MINUTES=5` runs one storm, `make soak` an hour of a seed that it prints. A seed
//! fixes the schedule and the traffic; how they meet is up to the machine. The environment may ask for
//! other weather: `TREEHOOK_CHAOS_BATCH` events in a delivery, `_OUTBOX_MIB` for each receiver, `_HASTE` per
//! cent of the usual faults in the same time, `_PATIENCE` per cent of the senders' usual patience, for
//! machines on which servers take long to start, `_AGAIN` times that somebody delivers again by hand what
//! its sender gave up, for more faults than any sender would outlast.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]
#![expect(clippy::print_stdout, reason = "whoever watches a storm wants to see it")]

mod actor;
mod balancer;
mod disk;
mod schedule;
mod stage;
mod verdict;

#[path = "../it"]
#[expect(dead_code, unused_imports, reason = "the stories use more of it")]
mod it {
    pub(crate) mod harness;
    pub(crate) mod traffic;
}

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use it::{harness, traffic};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use treehook_event::{KeyEncoding, Scheme, SigningKey};
use treehook_simulator::{Load, Progress, RetryPolicy, Signer, Target, Traffic, TrafficPlan};

use crate::balancer::Balancer;
use crate::harness::SECRET;
use crate::schedule::Schedule;
use crate::stage::Stage;

/// How long a storm lasts when nobody asks for another length.
const SHORT: Duration = Duration::from_secs(40);
/// Deliveries per second: a few times what a busy creator gets, and what two cores that also run every
/// server and restart them all the time can keep up with.
const RATE: u32 = 80;
/// Events in each delivery, when nobody asks for another number.
const BATCH: u64 = 3;
/// A platform's retries after 10, 30, 90, 270 and 810 s, this much faster: outages of the storm are
/// as much shorter than a real sender's patience of 20 minutes.
const RETRIES_FASTER: f64 = 0.04;

/// One storm at a time: two would share the cores, and each wants servers of its own.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_first_storm_of_forty_seconds_loses_nothing() {
    if asked_for().is_none() {
        storm(1, SHORT).await;
    }
}

#[tokio::test]
async fn a_second_storm_of_forty_seconds_loses_nothing() {
    if asked_for().is_none() {
        storm(2, SHORT).await;
    }
}

#[tokio::test]
async fn the_storm_that_was_asked_for_loses_nothing() {
    if let Some((seed, length)) = asked_for() {
        storm(seed, length).await;
    }
}

/// The seed and the length that the environment names.
fn asked_for() -> Option<(u64, Duration)> {
    let (seed, minutes) = (number("TREEHOOK_CHAOS_SEED"), number("TREEHOOK_CHAOS_MINUTES"));
    if seed.is_none() && minutes.is_none() {
        return None;
    }
    let length = minutes.map_or(SHORT, |minutes| Duration::from_secs(minutes * 60));
    Some((seed.unwrap_or(1), length))
}

/// What the environment says under this name.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// Events in each delivery.
fn batch() -> u64 {
    number("TREEHOOK_CHAOS_BATCH").unwrap_or(BATCH)
}

/// A storm from its first delivery to its verdict.
async fn storm(seed: u64, length: Duration) {
    let _turn = TURN.lock().await;
    let schedule = Schedule::of(seed, length, number("TREEHOOK_CHAOS_HASTE").unwrap_or(100));
    println!("chaos seed={seed}: {} s, {} actions", length.as_secs(), schedule.actions.len());
    let stage = Stage::set().await;
    let balancer = Balancer::before(stage.receivers()).await;
    let sending = tokio::spawn(send(balancer.address, plan(seed, length)));
    let started = Instant::now();
    let mut actions = FuturesUnordered::new();
    for (at, action) in schedule.actions {
        let mut due = pin!(sleep_until(started + at));
        loop {
            tokio::select! {
                () = &mut due => break,
                Some(()) = actions.next() => (),
            }
        }
        actions.push(stage.perform(action));
    }
    while actions.next().await.is_some() {}
    drop(actions);
    stage.say("every fault is over");
    let run = sending.await.unwrap();
    stage.say(&format!("the senders are done: {:?}", run.report));
    let verdict = verdict::reach(&stage, &run).await;
    println!("{}", verdict.line(seed, length, &stage));
    verdict.assert_flawless();
    stage.end().await;
}

/// Traffic for about this long: duplicates, late events and forgeries among it.
fn plan(seed: u64, length: Duration) -> TrafficPlan {
    let batch = batch();
    TrafficPlan {
        seed,
        profiles: 5,
        links: 10,
        days: 20,
        events: Some(length.as_secs() * u64::from(RATE) * batch),
        duplicates: 0.1,
        late: 0.05,
        bad_signatures: 0.01,
        batch: usize::try_from(batch).unwrap(),
        views_per_click: 0.5,
        ..TrafficPlan::default()
    }
}

/// Sends it all, and insists as a platform does.
async fn send(to: std::net::SocketAddr, plan: TrafficPlan) -> traffic::Run {
    let mut deliveries = Traffic::new(plan, harness::now()).unwrap().with_expected();
    let key = SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap();
    let signer = Signer::new(Scheme::linktree(), key).unwrap();
    let target = Target::parse(&format!("http://{to}/webhooks/linktree")).unwrap();
    let mut load = Load::new(target, signer);
    load.connections = 32;
    load.rate = Some(f64::from(RATE));
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let patience = number("TREEHOOK_CHAOS_PATIENCE").unwrap_or(100) as f64 / 100.0;
    load.retries = RetryPolicy::platform(RETRIES_FASTER * patience).unwrap();
    let by_hand = number("TREEHOOK_CHAOS_AGAIN").unwrap_or(0);
    if let RetryPolicy::Platform { delays } = &mut load.retries {
        let pause = *delays.last().expect("a platform retries");
        delays.extend((0..by_hand).map(|_| pause));
    }
    let (progress, _watched) = watch::channel(Progress::default());
    let never = CancellationToken::new();
    let report = load.run(&mut deliveries, &harness::now, &never, &progress).await.unwrap();
    let expected = deliveries.expected().unwrap().clone();
    traffic::Run { report, expected }
}
