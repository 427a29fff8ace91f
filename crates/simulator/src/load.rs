//! Sends traffic to an address over a fixed number of connections, and says what came of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use treehook_event::Timestamp;

use crate::desk::Desk;
use crate::line::Line;
use crate::plan::{BadPlan, require};
use crate::report::{LoadReport, Progress};
use crate::retry::RetryPolicy;
use crate::signer::Signer;
use crate::target::Target;
use crate::traffic::{Delivery, Traffic};

/// Connections at most; each takes a file and about 20 KB.
const CONNECTIONS_MAX: usize = 10_000;
/// Requests per second at most: beyond what one core can send.
const RATE_MAX: f64 = 1_000_000.0;

/// How traffic is sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// To whom.
    pub target: Target,
    /// How it is signed.
    pub signer: Signer,
    /// How many requests may be on their way at once: one per connection.
    pub connections: usize,
    /// Requests per second, whatever the answers do; as fast as they come without it.
    pub rate: Option<f64>,
    /// For how long; until the traffic ends without it.
    pub duration: Option<Duration>,
    /// How long to wait for an answer, connecting included.
    pub request_timeout: Duration,
    /// What becomes of deliveries that are not answered with a 2xx.
    pub retries: RetryPolicy,
}

impl Load {
    /// Over 8 connections, as fast as the answers come, until the traffic ends. Senders give an
    /// endpoint some 10 s.
    pub fn new(target: Target, signer: Signer) -> Self {
        Self {
            target,
            signer,
            connections: 8,
            rate: None,
            duration: None,
            request_timeout: Duration::from_secs(10),
            retries: RetryPolicy::None,
        }
    }

    /// Whether every setting can be followed; the first that cannot.
    pub fn check(&self) -> Result<(), BadPlan> {
        require("concurrency", (1..=CONNECTIONS_MAX).contains(&self.connections), || {
            format!("1 to {CONNECTIONS_MAX}")
        })?;
        let rate_fits = self.rate.is_none_or(|rate| rate > 0.0 && rate <= RATE_MAX);
        require("rate", rate_fits, || format!("above 0 and up to {RATE_MAX}"))?;
        require("request time-out", !self.request_timeout.is_zero(), || "above 0".to_owned())
    }

    /// Sends until the traffic ends, the duration is over or `stop` is cancelled; what is on its way
    /// then is waited for, no longer than a request may take. `clock` is asked whenever something is
    /// signed. Everything runs in the calling task, on one core.
    pub async fn run<C: Fn() -> Timestamp + Sync>(
        &self,
        traffic: &mut Traffic,
        clock: &C,
        stop: &CancellationToken,
        progress: &watch::Sender<Progress>,
    ) -> Result<LoadReport, BadPlan> {
        self.check()?;
        let desk = Desk::new(self, traffic, clock, stop, progress);
        let lines: FuturesUnordered<_> =
            (0..self.connections).map(|_| self.work(&desk, clock)).collect();
        lines.collect::<()>().await;
        Ok(desk.finish())
    }

    /// What one connection does all day.
    async fn work<C: Fn() -> Timestamp + Sync>(&self, desk: &Desk<'_, C>, clock: &C) {
        let mut line = Line::new(&self.target, self.request_timeout);
        while let Some(attempt) = desk.next().await {
            let outcome = line.send(|| self.request(&attempt.delivery, clock())).await;
            desk.settle(attempt, outcome);
            if let Some(pause) = line.pause() {
                desk.rest(pause).await;
            }
        }
    }

    fn request(&self, delivery: &Delivery, now: Timestamp) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(delivery.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        let mut headers = self.signer.headers(delivery, now);
        headers.insert(HOST, self.target.host_header.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("treehook-simulator"));
        *request.headers_mut() = headers;
        request
    }
}
