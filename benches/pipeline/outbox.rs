//! The relay after an outage: how fast a full outbox reaches RabbitMQ, alone and beside live traffic.

use std::time::{Duration, Instant};

use treehook_event::Publisher as _;
use treehook_sqlite::{Queue, QueueLimits};

use crate::Bench;
use crate::deliveries::{Deliveries, fresh_numbers};
use crate::harness::{Client, Deployment, now};
use crate::load::{Requests, Shape, drive};
use crate::plan::compress;
use crate::proc::{core_seconds, peak_memory};
use crate::table::{Target, median, per_second};

/// Events of one row: what requests at 128 connections bring together.
const ROW: u64 = 100;
/// Live traffic beside the relay, in requests per second: what leaves a core to it.
const LIVE_RATE: f64 = 2000.0;

pub(crate) async fn measure(bench: &mut Bench) {
    let (mut rates, mut costs, mut calm, mut busy) = (vec![], vec![], vec![], vec![]);
    let mut compressed = vec![];
    for round in 1..=bench.plan.rounds {
        eprintln!("outbox: round {round} of {}", bench.plan.rounds);
        let deployment = deployment(bench).await;
        let (rate, cost) = alone(bench, deployment).await;
        eprintln!("  alone {rate:.0}/s, {cost:.2} us of a core per event");
        rates.push(rate);
        costs.push(cost);
        let mut deployment = self::deployment(bench).await;
        compress(&mut deployment);
        let (rate, cost) = alone(bench, deployment).await;
        eprintln!("  compressed {rate:.0}/s, {cost:.2} us of a core per event");
        compressed.push(rate);
        calm.push(live(bench, 0).await);
        // More than it empties meanwhile.
        busy.push(live(bench, bench.plan.events * 4).await);
        eprintln!(
            "  p99 of live traffic {:.2} ms, beside the relay {:.2} ms",
            calm[round - 1],
            busy[round - 1]
        );
    }
    let rate = median(rates);
    let what = "relay alone, events/s into RabbitMQ";
    bench.table.add(what, rate, per_second(rate), Target::AtLeast(300_000.0));
    let rate = median(compressed);
    bench.table.add("the same, compressed", rate, per_second(rate), Target::AtLeast(300_000.0));
    let cost = median(costs);
    bench.table.add("core time per event, relay", cost, format!("{cost:.2} us"), Target::None);
    let times = crate::table::ratio(&busy, &calm);
    let shown = format!("{times:.2} ({:.2} of {:.2} ms)", median(busy), median(calm));
    bench.table.add("p99 beside the relay / without it", times, shown, Target::AtMost(2.0));
}

/// Fills an outbox, then starts a receiver on it. Events per second, and microseconds of a core for
/// each.
async fn alone(bench: &mut Bench, deployment: Deployment) -> (f64, f64) {
    let events = bench.plan.events;
    fill(&deployment, events).await;
    let process = deployment.start(&["receive"]).await;
    let client = Client::new();
    let mut first = None;
    let rate = loop {
        let replayed = client.metric(process.admin, "treehook_outbox_replayed_total").await;
        let at = Instant::now();
        let (began, before) = *first.get_or_insert((at, replayed));
        if replayed == 0 {
            first = None;
        } else if replayed >= events {
            break (replayed - before) as f64 / (at - began).as_secs_f64();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let cost = core_seconds(process.id()) * 1e6 / events as f64;
    bench.table.note_memory("receive, relaying", peak_memory(process.id()));
    process.kill().await;
    deployment.end().await;
    (rate, cost)
}

/// The p99 of paced traffic beside an outbox of so many events, in milliseconds.
async fn live(bench: &mut Bench, events: u64) -> f64 {
    let deployment = deployment(bench).await;
    fill(&deployment, events).await;
    let process = deployment.start(&["receive"]).await;
    let shape = Shape {
        rate: Some(LIVE_RATE),
        warm_up: Duration::from_millis(200),
        ..Shape::full(32, bench.plan.duration())
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
    let count = (LIVE_RATE * (bench.plan.seconds + 1.0)) as usize;
    let measured = drive(process.public(), &Requests::make(count, 1), shape).await;
    bench.table.note_memory("receive, relaying", peak_memory(process.id()));
    process.kill().await;
    deployment.end().await;
    measured.p99
}

async fn deployment(bench: &Bench) -> Deployment {
    let mut deployment = Deployment::server().await;
    bench.plan.set(&mut deployment);
    deployment
}

async fn fill(deployment: &Deployment, events: u64) {
    let queue = Queue::open(&deployment.data_dir(), QueueLimits::default()).await.unwrap();
    let (deliveries, first, now) = (Deliveries::new(), fresh_numbers(), now());
    for at in (0..events).step_by(usize::try_from(ROW).unwrap()) {
        let numbers = first + at..first + (at + ROW).min(events);
        queue.publish(&deliveries.events(numbers, now)).await.unwrap();
    }
    queue.close().await;
}
