//! Embedded mode from end to end: from HTTP to rollups that are committed.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::harness::{Client, Deployment};
use crate::load::{Requests, Shape, drive};
use crate::proc::{core_seconds, peak_memory};
use crate::table::{Target, median, per_second};

/// Connections and requests in one run.
const CONNECTIONS: usize = 64;

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
        bench.table.add(what, rate, shown, least.map_or(Target::None, Target::AtLeast));
    }
}

/// Sends everything, and waits until all of it counts: what is only queued is not done.
async fn once(bench: &mut Bench, events_each: u64) -> (f64, f64) {
    let count = usize::try_from(bench.plan.events / events_each).unwrap();
    let requests = Requests::make(count, events_each);
    let mut deployment = Deployment::embedded();
    for (name, value) in bench.plan.settings() {
        deployment.set(name, value);
    }
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
