//! What a load has met: counts by status, latencies, and what never got through.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::classify::Trouble;
use crate::traffic::{Delivery, DeliveryKind};

/// Longest latency told apart, in microseconds: ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;
/// How many ids of lost deliveries are kept, to have something to look for in a log.
const IDS_MAX: usize = 100;

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Requests answered or failed.
    pub requests: u64,
    /// Events of fresh deliveries that were answered with a 2xx.
    pub accepted_events: u64,
    /// Requests that brought no answer.
    pub errors: u64,
    /// Since the start.
    pub elapsed: Duration,
}

/// Latencies in microseconds. At a fixed rate they count from when a request was due, so that a
/// stall of the receiver shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Latency {
    /// Half of the requests were answered within.
    pub p50: u64,
    /// 95 of 100.
    pub p95: u64,
    /// 99 of 100.
    pub p99: u64,
    /// All of them.
    pub max: u64,
}

/// What a load has met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// Requests, retries and repeats among them.
    pub sent: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without an answer: `connect`, `timeout`, `closed`, `protocol`.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that were sent again because an earlier one was not answered with a 2xx.
    pub retries: u64,
    /// Fresh deliveries answered with a 2xx.
    pub accepted_deliveries: u64,
    /// Their events.
    pub accepted_events: u64,
    /// Repeats answered with a 2xx.
    pub accepted_repeats: u64,
    /// Forgeries answered with a 2xx: anything but 0 is a fault of the receiver.
    pub accepted_forgeries: u64,
    /// Of the requests that were answered.
    pub latency_micros: Latency,
    /// Whole run, in seconds.
    pub elapsed_seconds: f64,
    /// Requests per second.
    pub rate: f64,
    /// Requests that the wanted rate asked for and that were given up, the receiver being too slow.
    pub missed_slots: u64,
    /// Fresh deliveries that were made and never answered with a 2xx.
    pub unanswered: u64,
    /// The ids of the first 100 of them.
    pub unanswered_ids: Vec<String>,
}

/// Keeps the counts while a load runs.
#[derive(Debug)]
pub(crate) struct Recorder {
    sent: u64,
    by_status: BTreeMap<u16, u64>,
    errors: BTreeMap<&'static str, u64>,
    retries: u64,
    accepted_deliveries: u64,
    accepted_events: u64,
    accepted_repeats: u64,
    accepted_forgeries: u64,
    latency: Histogram<u64>,
    unanswered: u64,
    unanswered_ids: Vec<String>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            by_status: BTreeMap::new(),
            errors: BTreeMap::new(),
            retries: 0,
            accepted_deliveries: 0,
            accepted_events: 0,
            accepted_repeats: 0,
            accepted_forgeries: 0,
            latency: Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
                .expect("1 is below the longest, and 3 digits are few enough"),
            unanswered: 0,
            unanswered_ids: Vec::new(),
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, status: u16, latency: Duration) {
        self.sent += 1;
        *self.by_status.entry(status).or_default() += 1;
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// A request was not answered.
    pub(crate) fn failed(&mut self, trouble: Trouble) {
        self.sent += 1;
        *self.errors.entry(trouble.as_str()).or_default() += 1;
    }

    /// A request was not the first for its delivery.
    pub(crate) fn retried(&mut self) {
        self.retries += 1;
    }

    /// A delivery was answered with a 2xx.
    pub(crate) fn accepted(&mut self, delivery: &Delivery) {
        match delivery.kind {
            DeliveryKind::Fresh => {
                self.accepted_deliveries += 1;
                self.accepted_events += u64::from(delivery.events);
            }
            DeliveryKind::Repeat => self.accepted_repeats += 1,
            DeliveryKind::Forged => self.accepted_forgeries += 1,
        }
    }

    /// A delivery will not be sent again. Only a fresh one is missed.
    pub(crate) fn given_up(&mut self, delivery: Delivery) {
        if delivery.kind == DeliveryKind::Fresh {
            self.unanswered += 1;
            if self.unanswered_ids.len() < IDS_MAX {
                self.unanswered_ids.push(delivery.id);
            }
        }
    }

    pub(crate) fn progress(&self, elapsed: Duration) -> Progress {
        Progress {
            requests: self.sent,
            accepted_events: self.accepted_events,
            errors: self.errors.values().sum(),
            elapsed,
        }
    }

    pub(crate) fn finish(self, elapsed: Duration, missed_slots: u64) -> LoadReport {
        let at = |quantile| self.latency.value_at_quantile(quantile);
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate is read with few digits")]
        let rate = if seconds > 0.0 { self.sent as f64 / seconds } else { 0.0 };
        LoadReport {
            latency_micros: Latency {
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                max: self.latency.max(),
            },
            sent: self.sent,
            by_status: self.by_status,
            errors: self.errors,
            retries: self.retries,
            accepted_deliveries: self.accepted_deliveries,
            accepted_events: self.accepted_events,
            accepted_repeats: self.accepted_repeats,
            accepted_forgeries: self.accepted_forgeries,
            elapsed_seconds: seconds,
            rate,
            missed_slots,
            unanswered: self.unanswered,
            unanswered_ids: self.unanswered_ids,
        }
    }
}
