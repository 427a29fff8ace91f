//! Deployments for the stories: the built binary as processes, on servers that the test run started.

mod broker;
mod client;
mod database;
pub(crate) mod process;
mod proxy;
mod servers;

use std::time::{Duration, Instant};

pub(crate) use broker::TestBroker;
pub(crate) use client::{Client, SECRET, now};
pub(crate) use database::TestDatabase;
pub(crate) use process::Deployment;
pub(crate) use proxy::Proxy;
pub(crate) use servers::{OwnPostgres, OwnRabbit};

/// How long a story waits for anything before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Asks until the answer is yes; fails with what it waited for when the deadline passes.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "gave up waiting until {what}");
        tick.tick().await;
    }
}

/// A server that the test run has to name.
fn server_url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `make test`, which starts the servers, or name one")
    })
}

/// A name that no other test has.
fn unique(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}
