//! Bookkeeping: a receiver states what it has promised, a worker shows what the ledger comes to.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use treehook_event::{
    Account, Balance, Event, EventStore as _, Failure, Publisher, SourceName, Statement,
};
use treehook_pipeline::{Backoff, Ledger};

use crate::clock;
use crate::journal::JournalFile;
use crate::store::Store;
use crate::vitals::Outbox;

/// How often a receiver states what is new: what is lost of it with the receiver's disk is what it
/// promised in such a while.
const STATED_EVERY: Duration = Duration::from_secs(1);
/// How often a worker counts the ledger up.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// States what is new until told to stop.
pub(crate) async fn keep_stating<P: Publisher>(
    ledger: &Ledger<JournalFile>,
    publisher: &P,
    outbox: &Outbox,
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        // In an outage it waits: the next statement says all of it.
        if let Err(failure) = state(ledger, publisher, outbox).await {
            debug!(reason = failure.cause().reason, "not stated yet: {}", failure.cause().detail);
        }
        tokio::select! {
            () = stop.cancelled() => (),
            () = tokio::time::sleep(STATED_EVERY) => (),
        }
    }
}

/// Publishes what is new, if anything is.
pub(crate) async fn state<P: Publisher>(
    ledger: &Ledger<JournalFile>,
    publisher: &P,
    outbox: &Outbox,
) -> Result<(), Failure> {
    // A queue that is drained right here is asked itself; an outbox is on a disk of its own.
    let waiting = if outbox.is_queue { None } else { outbox.depth() };
    let statements = ledger.untold(waiting.map_or(0, |depth| depth.events));
    if statements.is_empty() {
        return Ok(());
    }
    let now = clock::now();
    let events: Vec<Event> =
        statements.iter().map(|statement| Event::stating(statement.clone(), now)).collect();
    publisher.publish(&events).await?;
    ledger.told(&statements);
    Ok(())
}

/// States what a lost receiver had promised, until it is durable or we are told to stop.
pub(crate) async fn state_left_behind<P: Publisher>(
    statements: Vec<Statement>,
    publisher: P,
    stop: CancellationToken,
) -> Result<(), Failure> {
    if statements.is_empty() {
        return Ok(());
    }
    let now = clock::now();
    let events: Vec<Event> = statements
        .into_iter()
        .map(|mut statement| {
            statement.close();
            // Whoever states this empties the outbox.
            statement.outbox = 0;
            statement.version += 1;
            Event::stating(statement, now)
        })
        .collect();
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        match publisher.publish(&events).await {
            Ok(_) => return Ok(()),
            Err(Failure::Transient(_)) => backoff.pause(&stop).await,
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Counts the ledger up until told to stop, and shows what it comes to.
pub(crate) async fn keep_counting(store: &Store, stop: &CancellationToken) -> Result<(), Failure> {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match store.ledger().await {
            Ok(accounts) => {
                is_failing = false;
                show(&balances(&accounts));
            }
            Err(failure) => {
                let cause = failure.cause();
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(reason = cause.reason, "the ledger: {}", cause.detail);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => (),
            () = tokio::time::sleep(COUNTED_EVERY) => (),
        }
    }
    Ok(())
}

/// What each source's accounts come to.
pub(crate) fn balances(accounts: &[Account]) -> BTreeMap<SourceName, Balance> {
    let mut balances: BTreeMap<SourceName, Balance> = BTreeMap::new();
    for account in accounts {
        *balances.entry(account.counting.source.clone()).or_default() += account.balance();
    }
    balances
}

fn show(balances: &BTreeMap<SourceName, Balance>) {
    for (source, balance) in balances {
        for (state, events) in [
            ("accepted", balance.accepted),
            ("applied", balance.applied),
            ("duplicate", balance.duplicates),
            ("dead", balance.dead),
            ("in_flight", balance.in_flight),
            ("void", balance.void),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
            gauge!("treehook_ledger_events", "source" => source.to_string(), "state" => state)
                .set(events as f64);
        }
    }
}
