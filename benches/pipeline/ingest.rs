//! The front door: what it takes in per second, beside servers that make nothing durable or publish
//! one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Bench;
use crate::harness::Deployment;
use crate::load::{Measured, Requests, Shape, drive};
use crate::plan::compress;
use crate::proc::{core_seconds, peak_memory};
use crate::reference::{Reference, clear};
use crate::table::{Target, median, per_second, ratio};

/// As many as a platform's fleet of senders keeps open.
const CONNECTIONS: usize = 128;
/// Requests per second that no server here reaches: as many are made for a run.
const RATE_MAX: f64 = 60_000.0;

/// What each server came to, a round after the other.
#[derive(Default)]
struct Outcome {
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Microseconds of a core per request.
    cost: Vec<f64>,
}

type Outcomes = BTreeMap<&'static str, Outcome>;

pub(crate) async fn measure(bench: &mut Bench) {
    let mut outcomes = Outcomes::new();
    for round in 1..=bench.plan.rounds {
        eprintln!("ingest: round {round} of {}", bench.plan.rounds);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let count = (RATE_MAX * (bench.plan.seconds + 0.5)) as usize;
        let requests = Requests::make(count, 1);
        let many = Shape::full(CONNECTIONS, bench.plan.duration());
        let one = Shape::full(1, bench.plan.duration());
        for (name, kind, shape) in [
            ("bare", "bare", many),
            ("parsed", "parsed", many),
            ("logged", "logged", many),
            ("batched", "batched", many),
            ("confirmed", "confirmed", many),
            ("confirmed, one", "confirmed", one),
        ] {
            reference(&mut outcomes, name, kind, &requests, shape).await;
        }
        embedded(bench, &mut outcomes, &requests, many).await;
        outage(bench, &mut outcomes, &requests, many).await;
        for (name, shape) in [("server", many), ("server, compressed", many), ("server, one", one)]
        {
            server(bench, &mut outcomes, name, &requests, shape).await;
        }
    }
    tell(bench, &outcomes);
}

async fn reference(
    outcomes: &mut Outcomes,
    name: &'static str,
    kind: &str,
    requests: &Arc<Requests>,
    shape: Shape,
) {
    let server = Reference::start(kind).await;
    let measured = drive(server.address, requests, shape).await;
    note(outcomes, name, &measured, core_seconds(server.id()));
    server.end().await;
    if matches!(kind, "batched" | "confirmed") {
        clear().await;
    }
}

/// The whole of `treehook serve`, its worker included.
async fn embedded(
    bench: &mut Bench,
    outcomes: &mut Outcomes,
    requests: &Arc<Requests>,
    shape: Shape,
) {
    let mut deployment = Deployment::embedded();
    bench.plan.set(&mut deployment);
    ours(bench, outcomes, ("embedded", "serve"), &deployment, requests, shape).await;
    deployment.end().await;
}

/// A receiver whose broker does not answer: everything goes to the outbox.
async fn outage(
    bench: &mut Bench,
    outcomes: &mut Outcomes,
    requests: &Arc<Requests>,
    shape: Shape,
) {
    let mut deployment = Deployment::embedded();
    bench.plan.set(&mut deployment);
    deployment.set("TREEHOOK_AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    ours(bench, outcomes, ("outage", "receive"), &deployment, requests, shape).await;
    deployment.end().await;
}

async fn server(
    bench: &mut Bench,
    outcomes: &mut Outcomes,
    name: &'static str,
    requests: &Arc<Requests>,
    shape: Shape,
) {
    let mut deployment = Deployment::server().await;
    bench.plan.set(&mut deployment);
    if name == "server, compressed" {
        compress(&mut deployment);
    }
    ours(bench, outcomes, (name, "receive"), &deployment, requests, shape).await;
    deployment.end().await;
}

async fn ours(
    bench: &mut Bench,
    outcomes: &mut Outcomes,
    (name, role): (&'static str, &'static str),
    deployment: &Deployment,
    requests: &Arc<Requests>,
    shape: Shape,
) {
    let process = deployment.start(&[role]).await;
    let measured = drive(process.public(), requests, shape).await;
    note(outcomes, name, &measured, core_seconds(process.id()));
    bench.table.note_memory(role, peak_memory(process.id()));
    process.kill().await;
}

fn note(outcomes: &mut Outcomes, name: &'static str, measured: &Measured, core_seconds: f64) {
    let Measured { rate, p50, p99, accepted } = *measured;
    let cost = core_seconds * 1e6 / accepted as f64;
    eprintln!(
        "  {name:<18} {rate:>7.0}/s  p50 {p50:>6.2} ms  p99 {p99:>6.2} ms  {cost:>5.1} us of a core"
    );
    let outcome = outcomes.entry(name).or_default();
    outcome.rates.push(rate);
    outcome.p50.push(p50);
    outcome.p99.push(p99);
    outcome.cost.push(cost);
}

fn tell(bench: &mut Bench, outcomes: &Outcomes) {
    let rate = |name: &str| median(outcomes[name].rates.clone());
    let times = |name: &str, reference: &str| {
        let times = ratio(&outcomes[name].rates, &outcomes[reference].rates);
        let (ours, theirs) = (per_second(rate(name)), per_second(rate(reference)));
        (times, format!("{times:.2} ({ours} of {theirs})"))
    };
    for (what, name, reference, least) in [
        ("embedded ingest / bare axum", "embedded", "bare", Some(0.6)),
        ("embedded ingest / axum that verifies and parses", "embedded", "parsed", None),
        ("server ingest / bare axum", "server", "bare", Some(0.5)),
        ("server ingest, compressed / bare axum", "server, compressed", "bare", None),
        ("server ingest / a confirm per request", "server", "confirmed", None),
        ("outage ingest / embedded ingest", "outage", "embedded", Some(0.9)),
        ("outage ingest / bare axum", "outage", "bare", None),
        ("verified, in a log with fsync / bare axum", "logged", "bare", None),
        ("verified, batches confirmed / bare axum", "batched", "bare", None),
    ] {
        let (value, shown) = times(name, reference);
        bench.table.add(what, value, shown, least.map_or(Target::None, Target::AtLeast));
    }
    let p99 = |name: &str| median(outcomes[name].p99.clone());
    let times = ratio(&outcomes["embedded"].p99, &outcomes["bare"].p99);
    let shown = format!("{times:.2} ({:.1} of {:.1} ms)", p99("embedded"), p99("bare"));
    bench.table.add("embedded p99 / bare axum's", times, shown, Target::AtMost(2.0));
    let shown = format!("{:.1} ms", p99("server"));
    bench.table.add("server ingest, p99 in ms", p99("server"), shown, Target::AtMost(15.0));
    let shown = format!("{:.1} ms", p99("server, compressed"));
    bench.table.add("the same, compressed", p99("server, compressed"), shown, Target::None);
    let (ours, theirs) = (&outcomes["server, one"].p50, &outcomes["confirmed, one"].p50);
    let times = ratio(ours, theirs);
    let (ours, theirs) = (median(ours.clone()), median(theirs.clone()));
    let shown = format!("{times:.2} ({ours:.2} of {theirs:.2} ms)");
    bench.table.add(
        "server, one connection / one confirmed publish",
        times,
        shown,
        Target::AtMost(1.2),
    );
    for name in ["bare", "embedded", "outage", "server", "server, compressed"] {
        let cost = median(outcomes[name].cost.clone());
        let what = format!("core time per request, {name}");
        bench.table.add(what, cost, format!("{cost:.1} us"), Target::None);
    }
}
