//! `treehook simulate` on one core, beside the load of this benchmark, against a server that only
//! answers.

use serde_json::Value;

use crate::Bench;
use crate::harness::Deployment;
use crate::load::{Requests, Shape, drive};
use crate::reference::Reference;
use crate::table::{Target, median, per_second};

/// Connections of both.
const CONNECTIONS: usize = 64;

pub(crate) async fn measure(bench: &mut Bench) {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    let requests = Requests::make(150_000, 1);
    for _ in 0..bench.plan.rounds {
        let server = Reference::start("bare").await;
        let shape = Shape::full(CONNECTIONS, bench.plan.duration());
        plain.push(drive(server.address, &requests, shape).await.rate);
        ours.push(simulated(bench, &server).await);
        eprintln!(
            "simulate: {:.0}/s, this load {:.0}/s",
            ours[ours.len() - 1],
            plain[plain.len() - 1]
        );
        server.end().await;
    }
    let (ours, plain) = (median(ours), median(plain));
    let shown = format!("{} (this load: {})", per_second(ours), per_second(plain));
    bench.table.add("treehook simulate, requests/s", ours, shown, Target::AtLeast(50_000.0));
}

async fn simulated(bench: &Bench, server: &Reference) -> f64 {
    let deployment = Deployment::embedded();
    let url = format!("http://{}", server.address);
    let (connections, seconds) =
        (CONNECTIONS.to_string(), format!("{}s", bench.plan.seconds.ceil()));
    let output = deployment
        .output(&[
            "simulate",
            "--url",
            &url,
            "--secret",
            "secret",
            "--concurrency",
            &connections,
            "--events",
            "1000000000",
            "--duration",
            &seconds,
            "--json",
        ])
        .await;
    deployment.end().await;
    let report: Value = serde_json::from_str(&output).unwrap();
    report["rate"].as_f64().unwrap()
}
