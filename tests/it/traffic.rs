//! A platform's traffic at a deployment, and whether every figure that comes of it is right.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use treehook_event::{KeyEncoding, Scheme, SigningKey};
use treehook_simulator::{
    Expected, Load, LoadReport, Progress, RetryPolicy, Signer, Target, Traffic, TrafficPlan,
};

use crate::harness::{Client, SECRET, eventually};

/// 10,000 distinct clicks and some over 50 links, 20 % sent twice, 5 % late by days, in arrays of up to `batch`.
pub(crate) fn ten_thousand_clicks(batch: usize) -> TrafficPlan {
    TrafficPlan {
        seed: 7,
        profiles: 5,
        links: 10,
        days: 20,
        events: Some(11_400),
        duplicates: 0.2,
        late: 0.05,
        bad_signatures: 0.02,
        batch,
        views_per_click: 0.1,
        ..TrafficPlan::default()
    }
}

/// A run of traffic: what was met, and what must be counted.
pub(crate) struct Run {
    pub(crate) report: LoadReport,
    pub(crate) expected: Expected,
}

/// Sends it all over 8 connections, with a platform's retries a hundred times faster.
pub(crate) async fn send(to: SocketAddr, plan: TrafficPlan, rate: Option<f64>) -> Run {
    let mut traffic = Traffic::new(plan, crate::harness::now()).unwrap().with_expected();
    let key = SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap();
    let signer = Signer::new(Scheme::linktree(), key).unwrap();
    let target = Target::parse(&format!("http://{to}/webhooks/linktree")).unwrap();
    let mut load = Load::new(target, signer);
    load.connections = 8;
    load.rate = rate;
    load.request_timeout = Duration::from_secs(10);
    load.retries = RetryPolicy::platform(0.05).unwrap();
    let (progress, _watched) = watch::channel(Progress::default());
    let never = CancellationToken::new();
    let report = load.run(&mut traffic, &crate::harness::now, &never, &progress).await.unwrap();
    let expected = traffic.expected().unwrap().clone();
    Run { report, expected }
}

impl Run {
    /// Every delivery was answered 2xx in the end, and no forgery ever.
    pub(crate) fn assert_all_accepted(&self) {
        assert_eq!(self.report.unanswered, 0, "{:?}", self.report);
        assert_eq!(self.report.accepted_forgeries, 0, "{:?}", self.report);
    }

    /// No answer but 202, and 403 for forgeries.
    pub(crate) fn assert_no_refusals(&self) {
        let refused: BTreeMap<_, _> = self
            .report
            .by_status
            .iter()
            .filter(|(status, _)| ![202, 403].contains(*status))
            .collect();
        assert!(refused.is_empty() && self.report.errors.is_empty(), "{:?}", self.report);
    }

    /// Waits until everything is counted, then compares every figure that the API gives.
    pub(crate) async fn assert_counted(&self, client: &Client, admin: SocketAddr) {
        let mut seen = 0;
        eventually("every event is applied", async || {
            let status = client.get(admin, "/api/v1/status").await;
            seen = status["applied"].as_u64().unwrap_or(0);
            seen >= self.expected.events
        })
        .await;
        assert_eq!(seen, self.expected.events, "applied");
        for (id, profile) in &self.expected.profiles {
            let clicks: BTreeMap<String, u64> =
                profile.links.iter().map(|(link, of)| (link.clone(), of.clicks)).collect();
            let counted = client.clicks(admin, id).await;
            assert_eq!(counted, clicks, "clicks of {id}");
            let path = format!("/api/v1/profiles/{id}/analytics?period=last_90_days");
            let analytics = client.get(admin, &path).await;
            assert_eq!(analytics["views"].as_u64(), Some(profile.views), "views of {id}");
            assert_eq!(analytics["clicks"].as_u64(), Some(profile.clicks), "clicks of {id}");
            // Three standard errors of a profile's sketch.
            within(&analytics["unique_visitors"], profile.visitors(), 0.03, id);
            let path = format!("/api/v1/profiles/{id}/links?period=last_90_days");
            for link in client.get(admin, &path).await["links"].as_array().unwrap() {
                let link_id = link["link_id"].as_str().unwrap();
                within(&link["unique_visitors"], profile.links[link_id].visitors(), 0.06, link_id);
            }
        }
    }
}

fn within(counted: &serde_json::Value, real: usize, tolerance: f64, what: &str) {
    let counted = counted.as_f64().unwrap();
    let real = f64::from(u32::try_from(real).unwrap());
    let allowed = if real <= 100.0 { 0.0 } else { real * tolerance };
    let off = (counted - real).abs();
    assert!(off <= allowed, "{what}: {counted} visitors counted, {real} came");
}
