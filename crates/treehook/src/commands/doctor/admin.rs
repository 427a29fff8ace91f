//! What a running treehook says of itself on its admin listener, when one answers here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::{Client, redirect};
use secrecy::ExposeSecret as _;

use super::WAIT;
use super::broker;
use super::finding::Finding;
use crate::config::Config;

/// Largest answer that is read: hundreds of sources have less.
const ANSWER_MAX: usize = 4 << 20;

/// What was answered, each as text.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// `/metrics`.
    pub(crate) metrics: Option<String>,
    /// `/readyz`.
    pub(crate) ready: Option<String>,
    /// `/api/v1/status`.
    pub(crate) status: Option<String>,
}

/// Asks the listener that the configuration names. Nobody there is no mistake.
pub(crate) async fn ask(config: &Config) -> Answers {
    let address = reachable(config.admin_listen);
    let client =
        Client::builder().timeout(WAIT).no_proxy().redirect(redirect::Policy::none()).build();
    let Ok(client) = client else { return Answers::default() };
    let metrics = get(&client, address, "/metrics", config).await;
    // Something else may listen there.
    let metrics = metrics.filter(|text| text.contains("treehook_build_info"));
    if metrics.is_none() {
        return Answers::default();
    }
    let ready = get(&client, address, "/readyz", config).await;
    let status = get(&client, address, "/api/v1/status", config).await;
    Answers { metrics, ready, status }
}

/// Where a listener on every address is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn get(client: &Client, address: SocketAddr, path: &str, config: &Config) -> Option<String> {
    let mut request = client.get(format!("http://{address}{path}"));
    // Only where it is asked for: whatever listens there need not see it otherwise.
    if let Some(token) = config.api_token.as_ref().filter(|_| path.starts_with("/api/")) {
        request = request.bearer_auth(token.expose_secret());
    }
    let mut answer = request.send().await.ok()?;
    // `/readyz` says what is wrong with a 503.
    if !answer.status().is_success() && path != "/readyz" {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            return None;
        }
    }
    String::from_utf8(body).ok()
}

/// What its metrics tell.
pub(super) fn check(config: &Config, answers: &Answers) -> Vec<Finding> {
    let address = config.admin_listen;
    let Some(metrics) = &answers.metrics else {
        let what = format!("no treehook answers on {address}; its metrics are not looked at");
        return vec![Finding::ok("running", what)];
    };
    let mut findings = vec![running(address, metrics), stale(metrics)];
    let blocked = metrics.lines().any(|line| line.trim() == "treehook_broker_blocked 1");
    findings.extend(blocked.then(broker::blocked));
    findings
}

fn running(address: SocketAddr, metrics: &str) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    if metrics.contains(&format!("treehook_build_info{{version=\"{ours}\"}}")) {
        return Finding::ok("running", format!("treehook {ours} answers on {address}"));
    }
    Finding::warn(
        "running",
        format!("another version than this {ours} answers on {address}"),
        "upgrade whichever is older",
    )
}

/// Valid signatures that were refused for their age: a clock, or a sender that reuses its first timestamp.
fn stale(metrics: &str) -> Finding {
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("treehook_deliveries_total{")) {
        if !line.contains("outcome=\"stale_timestamp\"") {
            continue;
        }
        let source = line.split("source=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some(source), Some(count)) = (source, count) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a counter: whole and not negative"
            )]
            let count = count as u64;
            *refused.entry(source).or_default() += count;
        }
    }
    refused.retain(|_, count| *count > 0);
    if refused.is_empty() {
        return Finding::ok("stale", "no valid signature was refused for its age");
    }
    let each: Vec<String> =
        refused.iter().map(|(source, count)| format!("{count} of `{source}`")).collect();
    Finding::warn(
        "stale",
        format!("valid signatures refused for their age since it started: {}", each.join(", ")),
        "if the clock is right, the sender repeats its first timestamp: raise `tolerance` for it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn stale_deliveries_are_counted_by_source() {
        let metrics = "treehook_deliveries_total{source=\"a\",outcome=\"accepted\"} 5\n\
            treehook_deliveries_total{source=\"a\",outcome=\"stale_timestamp\"} 2\n\
            treehook_deliveries_total{source=\"b\",outcome=\"stale_timestamp\"} 0\n";
        let finding = stale(metrics);
        assert_eq!(finding.grade, Grade::Warn);
        assert!(finding.what.ends_with(": 2 of `a`"), "{}", finding.what);
        assert_eq!(stale("").grade, Grade::Ok);
    }

    #[test]
    fn a_listener_on_every_address_is_reached_over_the_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:1", "[::1]:1"),
            ("10.1.2.3:1", "10.1.2.3:1"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
