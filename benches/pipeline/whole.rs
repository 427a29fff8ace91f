//! Embedded mode from end to end: from HTTP to rollups that are committed.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::harness::{Client, Deployment};
use crate::load::{Requests, Shape, drive};
use crate::proc::{core_seconds, peak_memory};
use crate::table::{Target, median, per_second};

/// Connections and requests in one run.
const CONNECTIONS: usize = 64;

/// Rates that are offered are multiples of so many events per second, below so many of these.
const STEP: u64 = 2500;
const STEPS: u64 = 24;
/// How long each is offered.
const OFFERED: Duration = Duration::from_secs(8);
/// A rate is kept up with if, at the last answer, no more waits to be counted than came in so many seconds. What waits for
/// its batch is half of that; of 30,000 events per second, one step too much leaves nearly as much again.
const WAITING_MAX: f64 = 0.75;
/// Times that the search is done, at most: each takes a minute.
const SEARCHES_MAX: usize = 3;

pub(crate) async fn measure(bench: &mut Bench) {
    for (what, events_each, least) in [
        ("embedded, HTTP to rollups, events/s", 1, Some(30_000.0)),
        ("the same in deliveries of 20 events", 20, None),
    ] {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..bench.plan.rounds {
            let (rate, cost) = once(bench, events_each).await;
            eprintln!("whole: {rate:.0} events/s, {cost:.1} us of a core per event");
            rates.push(rate);
            costs.push(cost);
        }
        let (rate, cost) = (median(rates), median(costs));
        let shown = format!("{} ({cost:.1} us of a core each)", per_second(rate));
        let target = least.map_or(Target::None, Target::AtLeast);
        bench.table.add(what, rate, shown, target);
        let mut kept = Vec::new();
        for _ in 0..bench.plan.rounds.min(SEARCHES_MAX) {
            let rate = kept_up_with(bench, events_each).await;
            eprintln!("whole: keeps up with {rate:.0} events/s");
            kept.push(rate);
        }
        let rate = median(kept);
        bench.table.add(format!("{what}, kept up with"), rate, per_second(rate), target);
    }
}

/// The highest rate of events that goes on for as long as it is offered, to a step.
async fn kept_up_with(bench: &Bench, events_each: u64) -> f64 {
    let (mut kept, mut missed) = (0, STEPS);
    while missed - kept > 1 {
        let step = kept.midpoint(missed);
        if keeps_up(bench, events_each, step * STEP).await {
            kept = step;
        } else {
            missed = step;
        }
    }
    (kept * STEP) as f64
}

/// Offers so many events per second, whatever becomes of them. Whether they are taken in and counted as they come.
async fn keeps_up(bench: &Bench, events_each: u64, events_per_second: u64) -> bool {
    let rate = events_per_second as f64 / events_each as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
    let requests = Requests::make((rate * OFFERED.as_secs_f64()) as usize, events_each);
    let deployment = deployment(bench);
    let process = deployment.start(&["serve"]).await;
    let client = Client::new();
    let shape = Shape {
        warm_up: Duration::ZERO,
        rate: Some(rate),
        ..Shape::full(CONNECTIONS, Duration::from_hours(1))
    };
    let measured = drive(process.public(), &requests, shape).await;
    let applied = client.metric(process.admin, "treehook_events_applied_total").await;
    let waiting = (measured.accepted * events_each).saturating_sub(applied);
    process.kill().await;
    deployment.end().await;
    let is_taken_in = measured.rate >= rate * 0.97;
    is_taken_in && waiting as f64 <= events_per_second as f64 * WAITING_MAX
}

fn deployment(bench: &Bench) -> Deployment {
    let mut deployment = Deployment::embedded();
    bench.plan.set(&mut deployment);
    deployment
}

/// Sends everything, and waits until all of it counts: what is only queued is not done.
async fn once(bench: &mut Bench, events_each: u64) -> (f64, f64) {
    let count = usize::try_from(bench.plan.events / events_each).unwrap();
    let requests = Requests::make(count, events_each);
    let deployment = deployment(bench);
    let process = deployment.start(&["serve"]).await;
    let client = Client::new();
    let shape =
        Shape { warm_up: Duration::ZERO, ..Shape::full(CONNECTIONS, Duration::from_hours(1)) };
    let started = Instant::now();
    let measured = drive(process.public(), &requests, shape).await;
    let events = measured.accepted * requests.events_each;
    while client.metric(process.admin, "treehook_events_applied_total").await < events {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = events as f64 / started.elapsed().as_secs_f64();
    let cost = core_seconds(process.id()) * 1e6 / events as f64;
    bench.table.note_memory("serve", peak_memory(process.id()));
    process.kill().await;
    deployment.end().await;
    (rate, cost)
}
