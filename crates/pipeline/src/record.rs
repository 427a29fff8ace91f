//! The worker's handler: records what fits, buries what does not, and counts both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use metrics::{counter, histogram};
use tokio::time::Instant;
use treehook_event::{Body, DeadLetter, Event, EventStore, Failure, Handler, Recorded, Timestamp};

use crate::Clock;

/// Unknown types that get a metric label of their own; the rest is `other`, since types come from
/// outside and every label costs memory here and in Prometheus.
const UNKNOWN_LABELS_MAX: usize = 50;

/// Records events in a store.
#[derive(Debug)]
pub struct Record<S> {
    store: S,
    clock: Clock,
    retention_ms: i64,
    unknown_labels: Mutex<BTreeSet<String>>,
}

impl<S: EventStore> Record<S> {
    /// `retention_ms`: events older than this are buried as `expired`.
    pub fn new(store: S, clock: Clock, retention_ms: i64) -> Self {
        Self { store, clock, retention_ms, unknown_labels: Mutex::default() }
    }

    async fn record(&self, events: &[Event], now: Timestamp) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let recorded = self.store.record(events, now).await?;
        histogram!("treehook_apply_duration_seconds").record(started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch holds a few thousand events")]
        histogram!("treehook_apply_batch_events").record(events.len() as f64);
        self.count(events, &recorded, now);
        Ok(())
    }

    fn count(&self, events: &[Event], recorded: &Recorded, now: Timestamp) {
        let mut applied: BTreeMap<&'static str, u64> = BTreeMap::new();
        let lag = histogram!("treehook_event_lag_seconds");
        for event in recorded.fresh.iter().filter_map(|position| events.get(*position)) {
            *applied.entry(event.type_label()).or_default() += 1;
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a lag")]
            lag.record(now.millis_since(event.occurred_at).max(0) as f64 / 1000.0);
            if let Body::Unknown { event_type } = &event.body {
                let label = self.unknown_label(event_type.as_str());
                counter!("treehook_events_unknown_total", "type" => label).increment(1);
            }
        }
        for (event_type, count) in applied {
            counter!("treehook_events_applied_total", "type" => event_type).increment(count);
        }
        counter!("treehook_events_duplicate_total").increment(recorded.duplicates);
    }

    fn unknown_label(&self, event_type: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        // The set stays whole when a thread dies with the lock: inserting is all that happens.
        let mut known = self.unknown_labels.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(event_type) {
            return event_type.to_owned();
        }
        let fits = event_type.len() <= 64 && event_type.chars().all(plain);
        if !fits || known.len() >= UNKNOWN_LABELS_MAX {
            return "other".to_owned();
        }
        known.insert(event_type.to_owned());
        event_type.to_owned()
    }

    async fn bury_all(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        if letters.is_empty() {
            return Ok(());
        }
        self.store.bury(letters).await?;
        for letter in letters {
            counter!("treehook_events_dead_total", "reason" => letter.reason_label()).increment(1);
        }
        Ok(())
    }
}

impl<S: EventStore> Handler for Record<S> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        let now = (self.clock)();
        let mut letters = Vec::new();
        let mut statements = Vec::new();
        let mut fit = Vec::new();
        for event in events {
            match (&event.body, event.unfit(now, self.retention_ms)) {
                (Body::Statement(statement), _) => statements.push((**statement).clone()),
                (_, Some(reason)) => letters.push(DeadLetter::of(event, reason, now)),
                (_, None) => fit.push(event),
            }
        }
        if fit.len() == events.len() {
            return self.record(events, now).await;
        }
        let fit: Vec<Event> = fit.into_iter().cloned().collect();
        // Recorded first: repeating that changes no count, while a letter counts its attempts.
        self.record(&fit, now).await?;
        self.bury_all(&letters).await?;
        if statements.is_empty() { Ok(()) } else { self.store.state(&statements, now).await }
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.bury_all(&[DeadLetter::of(event, reason, (self.clock)())]).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.store.ready().await
    }
}
