//! What a store needs from those who use it: its schema, a look now and then, and patience.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use treehook_event::{Cause, EventStore as _, Failure};
use treehook_pipeline::Backoff;

use crate::clock;
use crate::store::Store;

/// How long what batches have left to be added waits for it. The longer, the fewer rows are written: what came in
/// within a second mostly adds to the same ones. Whoever reads does not wait so long.
const FOLDED_AFTER: Duration = Duration::from_secs(1);
/// How often somebody looks whether it has.
const FOLDED_EVERY: Duration = Duration::from_millis(250);
/// How often the archive is looked after: partitions made ahead, days past retention dropped.
const UPKEEP_EVERY: Duration = Duration::from_mins(10);

/// What a failure that nothing can mend means for the rest of the process.
#[derive(Clone, Copy)]
pub(crate) struct Resilience {
    /// Whether deliveries come in here.
    pub(crate) has_front: bool,
}

impl Resilience {
    /// How a task ends, or nothing when it is to try again after a pause.
    pub(crate) async fn judge(
        self,
        outcome: Result<(), Failure>,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Option<Result<(), Failure>> {
        match outcome {
            Err(failure) if self.has_front && !stop.is_cancelled() => {
                let Cause { reason, detail } = failure.cause();
                error!(reason, "cannot go on, deliveries are still accepted: {detail}");
                backoff.pause(stop).await;
                None
            }
            ended => Some(ended),
        }
    }
}

/// Brings the schema up to date, waiting for a database that is not there yet. `false` when told to
/// stop first.
pub(crate) async fn prepared(
    store: &Store,
    migrate: bool,
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let mut backoff = Backoff::default();
    let mut waiting = false;
    while !stop.is_cancelled() {
        let outcome = if migrate { store.migrate().await } else { store.check_schema().await };
        match outcome {
            Ok(()) => return Ok(true),
            Err(Failure::Transient(cause)) => {
                if !waiting {
                    warn!(reason = cause.reason, "waiting for the database: {}", cause.detail);
                    waiting = true;
                }
                backoff.pause(stop).await;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

/// Adds to the rollups what batches have left to be added, until told to stop.
pub(crate) async fn keep_caught_up(store: &Store, stop: &CancellationToken) -> Result<(), Failure> {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match store.catch_up(FOLDED_AFTER).await {
            Ok(()) => is_failing = false,
            Err(failure) => {
                let cause = failure.cause();
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(reason = cause.reason, "the rollups: {}", cause.detail);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => (),
            () = tokio::time::sleep(FOLDED_EVERY) => (),
        }
    }
    Ok(())
}

/// Looks after the archive now and then. An outage is waited out; the next round does the rest.
pub(crate) async fn keep_up(
    store: &Store,
    retention_days: u32,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    while !stop.is_cancelled() {
        match store.maintain(clock::now(), retention_days).await {
            Ok(done) if done.days_dropped > 0 => {
                info!("retention: {} days of the archive are gone", done.days_dropped);
            }
            Ok(_) => (),
            Err(failure) => {
                let cause = failure.cause();
                warn!(reason = cause.reason, "upkeep of the archive failed: {}", cause.detail);
            }
        }
        tokio::select! {
            () = stop.cancelled() => (),
            () = tokio::time::sleep(UPKEEP_EVERY) => (),
        }
    }
    Ok(())
}
