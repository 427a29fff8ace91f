//! Workers: from a full queue on RabbitMQ to what is committed in Postgres, announced and settled.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use treehook_event::{Compression, EventStore as _, Publisher as _, Timestamp};
use treehook_rabbitmq::{Broker, BrokerConfig, BrokerState, Timeouts, Topology};

use crate::Bench;
use crate::archive::{copy_rate, database_with, deadlocks, waiting};
use crate::deliveries::{Deliveries, fresh_numbers};
use crate::harness::{Client, Deployment, TestDatabase, now};
use crate::naive;
use crate::plan::compress;
use crate::proc::{Servers, core_seconds, peak_memory};
use crate::table::{Table, Target, median, per_second, ratio};

/// Events of one publish: what a busy receiver gathers.
const PUBLISH: u64 = 1000;

pub(crate) async fn measure(bench: &mut Bench) {
    let (mut naive, mut one, mut two, mut copied) = (vec![], vec![], vec![], vec![]);
    let mut compressed = vec![];
    let (mut full, mut full_copied, mut costs, mut circles) = (vec![], vec![], vec![], 0);
    eprintln!("worker: filling a day with {} events", bench.plan.archive);
    // Each round adds to it, to the worker's as to the copy.
    let mut full_day = database_with(bench.plan.archive, 1).await;
    for round in 1..=bench.plan.rounds {
        eprintln!("worker: round {round} of {}", bench.plan.rounds);
        naive.push(naive::rate().await);
        let run = drained(bench, database_with(0, 1).await, 1).await;
        costs.push(run.costs);
        one.push(run.rate);
        copied.push(copy_rate(&run.database, run.since).await);
        run.database.end().await;
        compressed.push(compressed_rate(bench).await);
        let run = drained(bench, database_with(0, 1).await, 2).await;
        circles += deadlocks(&run.database).await;
        two.push(run.rate);
        run.database.end().await;
        let run = drained(bench, full_day, 1).await;
        full.push(run.rate);
        full_copied.push(copy_rate(&run.database, run.since).await);
        full_day = run.database;
        let last = |rates: &[f64]| rates.last().copied().map(per_second).unwrap();
        eprintln!(
            "  naive {}, one {}, compressed {}, two {}, COPY {}, on a full day {}, COPY there {}",
            last(&naive),
            last(&one),
            last(&compressed),
            last(&two),
            last(&copied),
            last(&full),
            last(&full_copied)
        );
    }
    full_day.end().await;
    let table = &mut bench.table;
    let least = Target::AtLeast;
    let rate = |rates: &[f64]| median(rates.to_vec());
    let beside = |rates: &[f64], references: &[f64]| {
        let times = ratio(rates, references);
        let shown =
            format!("{times:.2} ({} of {})", per_second(rate(rates)), per_second(rate(references)));
        (times, shown)
    };
    for (what, rates, wanted) in [
        ("one worker, events/s", &one, least(60_000.0)),
        ("one worker, compressed messages, events/s", &compressed, Target::None),
        ("two workers, events/s", &two, least(110_000.0)),
        ("a binary COPY of the same rows, rows/s", &copied, Target::None),
    ] {
        table.add(what, rate(rates), per_second(rate(rates)), wanted);
    }
    for (what, rates, references, wanted) in [
        ("one worker / the naive worker", &one, &naive, least(43.0)),
        ("two workers / the naive worker", &two, &naive, least(78.0)),
        ("two workers / one, hot links", &two, &one, least(1.7)),
        ("one worker / COPY, fresh tables", &one, &copied, Target::None),
        ("one worker / COPY, on a full day", &full, &full_copied, least(0.75)),
    ] {
        let (times, shown) = beside(rates, references);
        table.add(what, times, shown, wanted);
    }
    table.add("deadlocks of two workers", circles as f64, circles.to_string(), Target::AtMost(0.0));
    tell_costs(table, &costs);
}

fn tell_costs(table: &mut Table, costs: &[[f64; 3]]) {
    for (position, whose) in ["worker", "Postgres", "RabbitMQ"].into_iter().enumerate() {
        let cost = median(costs.iter().map(|costs| costs[position]).collect());
        let what = format!("core time per event of one worker: {whose}");
        table.add(what, cost, format!("{cost:.1} us"), Target::None);
    }
}

/// One worker on fresh tables, whose messages are compressed.
async fn compressed_rate(bench: &mut Bench) -> f64 {
    let mut deployment = Deployment::server().await;
    compress(&mut deployment);
    let run = drained_by(bench, deployment, database_with(0, 1).await, 1).await;
    run.database.end().await;
    run.rate
}

/// What workers came to.
pub(crate) struct Run {
    pub(crate) rate: f64,
    /// Microseconds of a core per event: of the workers, of Postgres, of RabbitMQ.
    pub(crate) costs: [f64; 3],
    /// When the first of them was applied, or before.
    pub(crate) since: Timestamp,
    pub(crate) database: TestDatabase,
}

/// Fills a queue, and lets so many workers empty it into the database, rollups included. The rate counts from when
/// all of them are at work.
pub(crate) async fn drained(bench: &mut Bench, database: TestDatabase, workers: usize) -> Run {
    drained_by(bench, Deployment::server().await, database, workers).await
}

async fn drained_by(
    bench: &mut Bench,
    mut deployment: Deployment,
    database: TestDatabase,
    workers: usize,
) -> Run {
    deployment.set("TREEHOOK_DATABASE_URL", &database.url);
    bench.plan.set(&mut deployment);
    // Enough of them for the last fold, which nothing runs beside, to be one of several.
    let events = bench.plan.events * 12;
    fill(&deployment, events).await;
    let since = now();
    let servers = Servers::find().await;
    let before = servers.used();
    let started: Vec<_> = (0..workers).map(|_| deployment.start(&["work"])).collect();
    let processes = futures_util::future::join_all(started).await;
    let client = Client::new();
    let store = database.store();
    let mut began = None;
    let (rate, total) = loop {
        let mut applied = Vec::with_capacity(workers);
        for process in &processes {
            applied.push(client.metric(process.admin, "treehook_events_applied_total").await);
        }
        let (at, total) = (Instant::now(), applied.iter().sum::<u64>());
        if began.is_none() && applied.iter().all(|applied| *applied > 0) {
            began = Some((at, total));
        }
        if total >= events {
            // What is applied is counted once it is folded into the rollups as well, as whoever asks would do.
            while waiting(&database).await > 0 {
                store.catch_up(Duration::ZERO).await.unwrap();
            }
            let at = Instant::now();
            let (began, before) = began.expect("each worker got a share");
            break ((total - before) as f64 / (at - began).as_secs_f64(), total);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let used: f64 = processes.iter().map(|process| core_seconds(process.id())).sum();
    let theirs = servers.used().each(before, total);
    store.close().await;
    for process in processes {
        bench.table.note_memory("work", peak_memory(process.id()));
        process.kill().await;
    }
    deployment.end().await;
    let costs = [used * 1e6 / total as f64, theirs.postgres, theirs.rabbitmq];
    Run { rate, costs, since, database }
}

/// Publishes events as receivers do.
async fn fill(deployment: &Deployment, events: u64) {
    let stop = CancellationToken::new();
    let compression = deployment.environment.get("TREEHOOK_AMQP_COMPRESSION");
    let config = BrokerConfig {
        url: deployment.environment["TREEHOOK_AMQP_URL"].clone(),
        topology: Topology::prefixed(&deployment.environment["TREEHOOK_AMQP_PREFIX"]),
        name: "treehook bench".to_owned(),
        compression: Compression::named(compression.map(String::as_str)),
        timeouts: Timeouts::default(),
        now,
    };
    let (broker, task) = Broker::start(config, stop.clone()).unwrap();
    let supervisor = tokio::spawn(task.run());
    broker.state().wait_for(|state| *state == BrokerState::Up).await.unwrap();
    let publisher = broker.publisher();
    let (deliveries, first, now) = (Deliveries::new(), fresh_numbers(), now());
    for at in (0..events).step_by(usize::try_from(PUBLISH).unwrap()) {
        let numbers = first + at..first + (at + PUBLISH).min(events);
        publisher.publish(&deliveries.events(numbers, now)).await.unwrap();
    }
    stop.cancel();
    supervisor.await.unwrap().unwrap();
}
