//! The one loop of worker, relay and undertaker: receive, handle, settle, in that order for each batch.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use treehook_event::{Carried, Consumer, Delivery, Failure, Handler};

use crate::backoff::{Backoff, Chance, chance};
use crate::bury::GIVEN_UP;

/// What bounds a turn.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events handled at once, at most; a delivery that alone holds more is still taken whole.
    pub batch: usize,
    /// Batches in hand at once, at most: while one is being handled another is received, decoded and begun.
    pub in_hand: usize,
    /// How long to wait for a first event.
    pub wait: Duration,
    /// How long a batch may stay in hand through an outage before it is handed back. Below the
    /// acknowledgement time-out of RabbitMQ (30 min by default), which costs a delivery attempt.
    pub hold: Duration,
    /// What keeps pauses from falling into step with those of other processes.
    pub chance: Chance,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: 5000,
            in_hand: 2,
            wait: Duration::from_secs(1),
            hold: Duration::from_mins(3),
            chance,
        }
    }
}

/// Drains until told to stop. Returns early only when this process cannot go on.
pub async fn drain<T: Carried, C: Consumer<T>, H: Handler<T>>(
    consumer: &mut C,
    handler: &H,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut backoff = Backoff::new(limits.chance);
    while !stop.is_cancelled() {
        match stretch(consumer, handler, limits, stop, &mut backoff).await {
            Ok(()) => (),
            Err(Failure::Fatal(cause)) => {
                // Whoever starts over may do so with the same consumer.
                consumer.release().await;
                return Err(Failure::Fatal(cause));
            }
            Err(Failure::Transient(cause) | Failure::Poison(cause)) => {
                // What was not settled comes again, and counts once all the same.
                warn!(reason = cause.reason, "turn failed, starting over: {}", cause.detail);
                consumer.release().await;
                backoff.pause(stop).await;
            }
        }
    }
    Ok(())
}

/// Receives, handles and settles, batch after batch, until the queue has no more to give for now, an
/// outage outlasts the patience of a batch, or something fails. While one batch is handled, the next
/// is received and handled too, up to [`Limits::in_hand`]: the destination does not wait for the queue.
async fn stretch<T: Carried, C: Consumer<T>, H: Handler<T>>(
    consumer: &mut C,
    handler: &H,
    limits: &Limits,
    stop: &CancellationToken,
    backoff: &mut Backoff,
) -> Result<(), Failure> {
    let deliveries = tokio::select! {
        biased;
        // What is lost with the future was not settled, so it comes again after the restart.
        () = stop.cancelled() => return Ok(()),
        received = consumer.receive(limits.batch, limits.wait) => received?,
    };
    let take_on = |deliveries| async {
        let (hand, receipts) = taken_up(deliveries);
        handle_patiently(handler, &hand, limits, stop).await.map(|patience| (patience, receipts))
    };
    let mut is_more_likely = is_full(&deliveries, limits);
    let mut in_hand = FuturesUnordered::new();
    in_hand.push(take_on(deliveries));
    let mut done = Vec::new();
    let mut trouble = None;
    while !in_hand.is_empty() || !done.is_empty() {
        // Whatever waits to be settled comes again after a crash: no more than one does while more is received.
        let has_room = done.len() < 2 && in_hand.len() < limits.in_hand;
        if has_room && is_more_likely && !stop.is_cancelled() {
            // Only what is there already, so that it ends soon: a `receive` that is dropped may take
            // events with it, and what is handled meanwhile has to wait for it to be settled.
            let receive = pin!(consumer.receive(limits.batch, Duration::ZERO));
            match beside(receive, &mut in_hand, &mut done).await {
                Ok(deliveries) => {
                    is_more_likely = is_full(&deliveries, limits);
                    if !deliveries.is_empty() {
                        in_hand.push(take_on(deliveries));
                    }
                }
                // What is in hand already is none the worse for it.
                Err(failure) => (trouble, is_more_likely) = (Some(failure), false),
            }
            continue;
        }
        let outcome = if done.is_empty() { in_hand.next().await } else { Some(done.remove(0)) };
        let Some(outcome) = outcome else { break };
        let (patience, receipts) = outcome?;
        match patience {
            Patience::Handled => {
                let settle = pin!(consumer.settle(receipts));
                beside(settle, &mut in_hand, &mut done).await?;
            }
            Patience::Stopped => (),
            Patience::Exhausted => {
                drop((receipts, in_hand));
                consumer.release().await;
                return await_ready(handler, limits, stop).await;
            }
        }
        backoff.reset();
    }
    trouble.map_or(Ok(()), Err)
}

/// Awaits `first` and lets the others go on meanwhile; those that end do so in `done`.
async fn beside<F, O>(
    mut first: Pin<&mut F>,
    others: &mut FuturesUnordered<O>,
    done: &mut Vec<O::Output>,
) -> F::Output
where
    F: Future,
    O: Future,
{
    loop {
        tokio::select! {
            biased;
            output = first.as_mut() => return output,
            Some(ended) = others.next() => done.push(ended),
        }
    }
}

/// Whether a batch is so large that more is likely to wait. A single event never is, since a queue may
/// have its reasons to hand it out alone.
fn is_full<R, T: Carried>(deliveries: &[Delivery<R, T>], limits: &Limits) -> bool {
    let carried = deliveries.iter().flat_map(|delivery| &delivery.events);
    let events: usize = carried.map(Carried::events).sum();
    events > 1 && events.saturating_mul(2) >= limits.batch
}

/// What was received, and what settles it.
fn taken_up<R, T>(deliveries: Vec<Delivery<R, T>>) -> (Hand<T>, Vec<R>) {
    let mut hand = Hand { events: Vec::new(), given_up: Vec::new() };
    let mut receipts = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let place = if delivery.is_given_up { &mut hand.given_up } else { &mut hand.events };
        place.extend(delivery.events);
        receipts.push(delivery.receipt);
    }
    (hand, receipts)
}

/// What is in hand.
struct Hand<T> {
    /// To be handled.
    events: Vec<T>,
    /// To be set aside unopened.
    given_up: Vec<T>,
}

/// How it ended with a batch in hand.
enum Patience {
    Handled,
    /// Told to stop in the middle of an outage: unsettled, so everything comes back.
    Stopped,
    /// The outage lasts longer than a batch may be held.
    Exhausted,
}

/// Tries until it works: in an outage the batch stays in hand, and the prefetch stops the inflow.
async fn handle_patiently<T, H: Handler<T>>(
    handler: &H,
    hand: &Hand<T>,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<Patience, Failure> {
    let started = Instant::now();
    let mut backoff = Backoff::new(limits.chance);
    let mut waiting = false;
    loop {
        let cause = match handle_all(handler, hand).await {
            Ok(()) => {
                if waiting {
                    info!("back after {} s", started.elapsed().as_secs());
                }
                return Ok(Patience::Handled);
            }
            Err(Failure::Transient(cause)) => cause,
            Err(failure) => return Err(failure),
        };
        if !waiting {
            warn!(reason = cause.reason, "holding {} events: {}", hand.events.len(), cause.detail);
            waiting = true;
        }
        if started.elapsed() >= limits.hold {
            return Ok(Patience::Exhausted);
        }
        backoff.pause(stop).await;
        if stop.is_cancelled() {
            return Ok(Patience::Stopped);
        }
    }
}

async fn handle_all<T, H: Handler<T>>(handler: &H, hand: &Hand<T>) -> Result<(), Failure> {
    for event in &hand.given_up {
        warn!(reason = GIVEN_UP, "setting one event aside: too many workers died of it");
        handler.bury(event, GIVEN_UP).await?;
    }
    handle_each(handler, &hand.events).await
}

/// Handles all of them. A batch that is refused is halved until the one at fault stands alone, so
/// that it never takes its neighbours with it; it is buried before anything is settled.
async fn handle_each<T, H: Handler<T>>(handler: &H, events: &[T]) -> Result<(), Failure> {
    let mut parts = vec![events];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let Err(failure) = handler.handle(part).await else { continue };
        match (failure, part) {
            (Failure::Poison(cause), [event]) => {
                warn!(reason = cause.reason, "setting one event aside: {}", cause.detail);
                handler.bury(event, cause.reason).await?;
            }
            (Failure::Poison(_), _) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second);
                parts.push(first);
            }
            (failure, _) => return Err(failure),
        }
    }
    Ok(())
}

/// Waits, with nothing in hand, until the handler could work again.
async fn await_ready<T, H: Handler<T>>(
    handler: &H,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    warn!("handed the batch back; waiting until its destination answers");
    let mut backoff = Backoff::new(limits.chance);
    while !stop.is_cancelled() {
        match handler.ready().await {
            Ok(()) => return Ok(()),
            Err(Failure::Fatal(cause)) => return Err(Failure::Fatal(cause)),
            Err(Failure::Transient(_) | Failure::Poison(_)) => backoff.pause(stop).await,
        }
    }
    Ok(())
}
