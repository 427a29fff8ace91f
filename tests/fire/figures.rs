//! What processes say of themselves, and what the kernel says of them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::harness::Client;
use crate::traffic::Run;

/// How long nothing may move before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// Deliveries that a receiver answered 202 so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    /// By the broker.
    pub(crate) accepted: u64,
    /// By the outbox.
    pub(crate) spooled: u64,
}

impl Taken {
    pub(crate) async fn by(client: &Client, admin: SocketAddr) -> Self {
        let (_, text) = client.text(admin, "/metrics").await;
        let of = |outcome: &str| {
            text.lines()
                .filter(|line| line.starts_with("treehook_deliveries_total{"))
                .filter(|line| line.contains(&format!("outcome=\"{outcome}\"")))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum()
        };
        Self { accepted: of("accepted"), spooled: of("spooled") }
    }
}

/// Memory that a process has in use, in MiB.
pub(crate) fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Events that count so far.
pub(crate) async fn applied(client: &Client, admin: SocketAddr) -> u64 {
    client.get(admin, "/api/v1/status").await["applied"].as_u64().unwrap_or(0)
}

/// Waits until every event counts, as long as their number grows; then compares every figure.
pub(crate) async fn assert_exact(run: &Run, client: &Client, admin: SocketAddr) {
    let (mut seen, mut since) = (0, Instant::now());
    let mut tick = interval(Duration::from_millis(200));
    while seen < run.expected.events && since.elapsed() < PATIENCE {
        tick.tick().await;
        let now = applied(client, admin).await;
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
    }
    run.assert_counted(client, admin).await;
}
