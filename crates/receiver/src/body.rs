//! Reading a body under its limits: size, time, and what all bodies together may weigh.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use treehook_event::{Event, Rejection};

use crate::door::DoorLimits;
use crate::refusal::{Refusal, Shortage};

/// How much of an unwanted body is read and thrown away, and for how long. A connection that is
/// closed with unread bytes is reset, and a reset can overtake the answer that explains it.
const DISCARD_MAX: usize = 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// What an event's own texts weigh beside its payload, roughly: ids, referrer, identity.
const TEXTS_OF_AN_EVENT: usize = 200;

/// A body, and its share of what all of them may weigh.
pub(crate) struct Held {
    bytes: Bytes,
    budget: Arc<Semaphore>,
    share: Option<OwnedSemaphorePermit>,
}

impl Held {
    fn nothing(budget: Arc<Semaphore>) -> Self {
        Self { bytes: Bytes::new(), budget, share: None }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The events take the body's place until they are published: small envelopes weigh several
    /// times more as events.
    pub(crate) fn becomes(&mut self, events: &[Event]) -> Result<(), Refusal> {
        self.bytes = Bytes::new();
        let weigh = |event: &Event| size_of::<Event>() + TEXTS_OF_AN_EVENT + event.payload.len();
        let weight = events.iter().map(weigh).sum::<usize>();
        let share = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.add(weight.saturating_sub(share))
    }

    fn add(&mut self, weight: usize) -> Result<(), Refusal> {
        let short = || Refusal::NotAccepting(Shortage::Memory);
        let weight = u32::try_from(weight).map_err(|_| short())?;
        let budget = Arc::clone(&self.budget);
        let more = budget.try_acquire_many_owned(weight).map_err(|_| short())?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }
}

/// Reads the whole body, or says why not. Bytes are weighed as they come, not as they are
/// announced: announcing costs a sender nothing.
pub(crate) async fn read(
    body: &mut Body,
    limits: &DoorLimits,
    budget: Arc<Semaphore>,
) -> Result<Held, Refusal> {
    match timeout(limits.body_timeout, read_all(body, limits.max_body, budget)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(Refusal::RequestTimeout),
    }
}

async fn read_all(body: &mut Body, limit: usize, budget: Arc<Semaphore>) -> Result<Held, Refusal> {
    let mut held = Held::nothing(budget);
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Whatever broke it, the sender is gone or does not speak HTTP.
        let frame = frame.map_err(|_| {
            Rejection::MalformedPayload("the body ended early, or its framing is broken".into())
        })?;
        // Trailers are no part of what is signed.
        let Ok(piece) = frame.into_data() else { continue };
        if gathered.len() + piece.len() > limit {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        held.add(piece.len())?;
        if gathered.is_empty() && body.is_end_stream() {
            // The common case, a small body in one piece, is not copied.
            held.bytes = piece;
            return Ok(held);
        }
        gathered.extend_from_slice(&piece);
    }
    held.bytes = gathered.freeze();
    Ok(held)
}

/// Reads on for a moment, so that the answer arrives and the connection can be used again.
pub(crate) async fn discard(body: &mut Body) {
    let read_on = async {
        let mut discarded = 0;
        while discarded < DISCARD_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whether it came to an end or not, the answer is the same.
    timeout(DISCARD_TIMEOUT, read_on).await.unwrap_or_default();
}
