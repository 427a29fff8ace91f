//! What a delivery leaves behind for operators: counts, durations and log lines, never its content.

use std::time::Instant;

use axum::http::HeaderMap;
use tracing::{debug, warn};
use treehook_event::{Accepted, Event};

use crate::ingest::Taken;
use crate::meters::Meters;
use crate::refusal::{Refusal, Shortage};

/// Longest delivery id in a log line, in characters; senders use 20 to 40.
const DELIVERY_ID_MAX: usize = 64;

/// Counts and logs one delivery.
pub(crate) fn delivery(
    meters: &Meters,
    headers: &HeaderMap,
    outcome: &Result<Taken, Refusal>,
    started: Instant,
) {
    let (label, tally) = match outcome {
        Ok(taken) => (place(taken.place), Some(&taken.tally)),
        Err(refusal) => (refusal.code(), None),
    };
    meters.delivery(label, started);
    if let Some(tally) = tally {
        meters.events(tally);
    }
    debug!(
        source = meters.source(),
        outcome = label,
        events = tally.map_or(0, Tally::events),
        delivery_id = delivery_id(headers),
        "delivery answered"
    );
}

fn place(place: Accepted) -> &'static str {
    match place {
        Accepted::Queued => "accepted",
        Accepted::Spooled => "spooled",
    }
}

/// What the metrics say of a delivery's events.
pub(crate) struct Tally {
    /// How many of which type: neighbours are mostly of one type, and counted in one go.
    types: Vec<(&'static str, u64)>,
    refused_urls: u64,
}

impl Tally {
    pub(crate) fn of(events: &[Event]) -> Self {
        let alike = events.chunk_by(|one, next| one.type_label() == next.type_label());
        Self {
            types: alike.map(|alike| (alike[0].type_label(), alike.len() as u64)).collect(),
            refused_urls: events.iter().map(Event::refused_urls).sum(),
        }
    }

    fn events(&self) -> u64 {
        self.types.iter().map(|(_, count)| count).sum()
    }

    /// How many of which type.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.types.iter().copied()
    }

    pub(crate) fn refused_urls(&self) -> u64 {
        self.refused_urls
    }
}

/// Says why deliveries are turned away.
pub(crate) fn not_accepting(shortage: &Shortage) {
    match shortage {
        Shortage::Deliveries => {
            warn!("not accepting deliveries: the limit of deliveries in flight is reached");
        }
        Shortage::Memory => {
            warn!("not accepting deliveries: the limit of body bytes in flight is reached");
        }
        Shortage::Publisher(failure) => {
            let cause = failure.cause();
            warn!(
                reason = cause.reason,
                "not accepting deliveries: nothing can make them durable: {}", cause.detail
            );
        }
    }
}

/// The id that Linktree gives a delivery. Nobody signed it: it is cleaned for the log, and used for
/// nothing else.
fn delivery_id(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("x-linktree-delivery-id")?;
    let graphic = given.as_bytes().iter().filter(|byte| byte.is_ascii_graphic());
    Some(graphic.take(DELIVERY_ID_MAX).map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_delivery_id_is_cleaned_and_cut_before_it_is_logged() {
        let long = "d".repeat(100);
        for (given, logged) in [
            (&b"del_01-xyz"[..], "del_01-xyz"),
            (b"a b\xff\tc", "abc"),
            (long.as_bytes(), &long[..DELIVERY_ID_MAX]),
        ] {
            let value = HeaderValue::from_bytes(given).unwrap();
            let headers =
                HeaderMap::from_iter([("x-linktree-delivery-id".parse().unwrap(), value)]);
            assert_eq!(delivery_id(&headers).as_deref(), Some(logged));
        }
        assert_eq!(delivery_id(&HeaderMap::new()), None);
    }
}
