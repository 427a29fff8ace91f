//! A platform that sends at a steady rate until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use treehook_event::{KeyEncoding, Scheme, SigningKey};
use treehook_simulator::{Load, Progress, RetryPolicy, Signer, Target, Traffic, TrafficPlan};

use crate::harness::{self, SECRET};
use crate::traffic::Run;

/// Enough for the answers of an outage, each of which may take as long as a confirm is waited for.
const CONNECTIONS: usize = 128;
/// A platform's retries after 10, 30, 90, 270 and 810 s, this much faster.
const RETRIES_FASTER: f64 = 0.05;

/// Endless traffic of now: 5 profiles, some of it sent twice, some of it late by days.
pub(crate) fn endless(seed: u64, batch: usize) -> TrafficPlan {
    TrafficPlan {
        seed,
        profiles: 5,
        links: 10,
        days: 0,
        events: None,
        duplicates: 0.1,
        late: 0.02,
        bad_signatures: 0.01,
        batch,
        views_per_click: 0.5,
        ..TrafficPlan::default()
    }
}

/// How to send to this address.
pub(crate) fn load(to: SocketAddr, rate: f64) -> Load {
    let key = SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap();
    let signer = Signer::new(Scheme::linktree(), key).unwrap();
    let target = Target::parse(&format!("http://{to}/webhooks/linktree")).unwrap();
    let mut load = Load::new(target, signer);
    load.connections = CONNECTIONS;
    load.rate = Some(rate);
    load.request_timeout = Duration::from_secs(10);
    load.retries = RetryPolicy::platform(RETRIES_FASTER).unwrap();
    load
}

/// Traffic that is on its way.
pub(crate) struct Sender {
    stop: CancellationToken,
    task: JoinHandle<Run>,
}

impl Sender {
    /// Starts to send so many deliveries a second.
    pub(crate) fn start(to: SocketAddr, plan: TrafficPlan, rate: f64) -> Self {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut traffic = Traffic::new(plan, harness::now()).unwrap().with_expected();
            let (progress, _watched) = watch::channel(Progress::default());
            let load = load(to, rate);
            let report = load.run(&mut traffic, &harness::now, &told, &progress).await.unwrap();
            Run { report, expected: traffic.expected().unwrap().clone() }
        });
        Self { stop, task }
    }

    /// Stops, and tells what was met and what must be counted: everything was answered 202 at once.
    pub(crate) async fn end(self) -> Run {
        self.stop.cancel();
        let run = self.task.await.unwrap();
        run.assert_all_accepted();
        run.assert_no_refusals();
        run
    }
}
