//! Redriving dead letters: their events go to the queue again, through dedupe like any delivery.

use treehook_event::{DeadLetter, Event, EventStore as _, Failure, Key, Publisher, decode_batch};

use crate::clock;
use crate::store::Store;
use crate::vitals::Vitals;

/// Publishes the letters' events, then takes the letters off the list. Stopped in between, an event is
/// redriven twice and counts once. A letter that failed again and was buried by a worker before it
/// could be taken off stays; one that is buried later continues its history.
pub(crate) async fn redrive<P: Publisher>(
    publisher: &P,
    store: &Store,
    letters: &[DeadLetter],
) -> Result<(), Failure> {
    let mut events = Vec::with_capacity(letters.len());
    for letter in letters {
        events.extend(events_of(letter)?);
    }
    publisher.publish(&events).await?;
    store.release_dead_letters(&as_read(letters), clock::now()).await?;
    Ok(())
}

/// What the letter's event is worth another try as.
pub(crate) fn events_of(letter: &DeadLetter) -> Result<Vec<Event>, Failure> {
    let held = decode_batch(letter.event.as_bytes()).map_err(|error| {
        let detail = format!("dead letter {} cannot be read: {error}", letter.id());
        Failure::poison("invalid_data", detail)
    })?;
    Ok(held.into_iter().flat_map(Event::retried).collect())
}

/// The letters as they were read: one that is buried again is another.
pub(crate) fn as_read(letters: &[DeadLetter]) -> Vec<(Key, u32)> {
    letters.iter().map(|letter| (letter.key(), letter.attempts)).collect()
}

/// Redrives to the queue that this process can reach.
pub(crate) async fn redrive_from_here(
    vitals: &Vitals,
    store: &Store,
    letters: Vec<DeadLetter>,
) -> Result<(), Failure> {
    match (&vitals.broker, &vitals.queue) {
        (Some(broker), _) => redrive(&broker.publisher(), store, &letters).await,
        (None, Some(outbox)) => redrive(&outbox.publisher(), store, &letters).await,
        (None, None) => Err(Failure::transient("no_queue", "this process reaches no queue")),
    }
}
