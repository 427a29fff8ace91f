//! The counters of each source: looked up by name once, since a delivery counts in four of them.

use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Instant;

use metrics::{Counter, Histogram, counter, histogram};
use treehook_event::SourceName;

use crate::telemetry::Tally;

/// Handles of what one source's deliveries are counted in. A counter appears in the metrics once something counts in it.
pub(crate) struct Meters {
    source: String,
    duration: OnceLock<Histogram>,
    deliveries: Counters<&'static str>,
    events: Counters<&'static str>,
    secrets: Counters<usize>,
}

impl Meters {
    /// Of this source. A path that nobody configured has no name of ours: it counts as `unknown`.
    pub(crate) fn of(source: Option<&SourceName>) -> Self {
        Self {
            source: source.map_or("unknown", SourceName::as_str).to_owned(),
            duration: OnceLock::new(),
            deliveries: Counters::default(),
            events: Counters::default(),
            secrets: Counters::default(),
        }
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// One delivery, from its headers to its answer.
    pub(crate) fn delivery(&self, outcome: &'static str, started: Instant) {
        self.deliveries.add(outcome, 1, || {
            counter!("treehook_deliveries_total", "source" => self.source.clone(), "outcome" => outcome)
        });
        let duration = self.duration.get_or_init(
            || histogram!("treehook_delivery_duration_seconds", "source" => self.source.clone()),
        );
        duration.record(started.elapsed());
    }

    /// The events that a delivery brought.
    pub(crate) fn events(&self, tally: &Tally) {
        for (label, count) in tally.types() {
            self.events.add(label, count, || {
                counter!("treehook_events_accepted_total", "source" => self.source.clone(), "type" => label)
            });
        }
        if tally.refused_urls() > 0 {
            counter!("treehook_urls_refused_total").increment(tally.refused_urls());
        }
    }

    /// Which key verified, by position: how an operator sees that a rotated secret is out of use.
    pub(crate) fn secret_match(&self, position: usize) {
        self.secrets.add(position, 1, || {
            counter!(
                "treehook_secret_matches_total",
                "source" => self.source.clone(),
                "secret" => position.to_string()
            )
        });
    }
}

/// Counters by the value of one label: few, so that a look from the first to the last finds one soonest.
struct Counters<L>(RwLock<Vec<(L, Counter)>>);

impl<L> Default for Counters<L> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<L: Copy + PartialEq> Counters<L> {
    fn add(&self, label: L, amount: u64, make: impl FnOnce() -> Counter) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(known, _)| *known == label) {
            counter.increment(amount);
            return;
        }
        drop(known);
        let counter = make();
        counter.increment(amount);
        // Whoever came here at the same time has a handle of the same counter.
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((label, counter));
    }
}
