//! `dead redrive`: letters go back to the queue page by page, at most as fast as was asked.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use treehook_event::{DeadFilter, DeadLetter, Failure, Publisher};
use treehook_pipeline::Backoff;
use treehook_sqlite::{Queue, QueueLimits};

use super::super::opened;
use super::{PAGE, chosen, for_each_page, letters as counted, said};
use crate::Trouble;
use crate::cli::DeadRedrive;
use crate::config::Config;
use crate::redrive::events_of;
use crate::roles::start_broker;
use crate::store::Store;

/// Tries to reach the broker before redrive gives up: about half a minute.
const TRIES: u32 = 10;
/// A paced redrive goes on in steps of a tenth of a second: no bursts, and few commits.
const STEPS_PER_SECOND: u32 = 10;

pub(super) async fn redrive(args: DeadRedrive) -> Result<(), Trouble> {
    let DeadRedrive { chosen: which, rate } = args;
    let mut filter = chosen(&which)?;
    let (config, store) = opened(&which.shared).await?;
    if which.dry_run {
        let count = for_each_page(&store, filter, async |_| Ok(())).await?;
        return said(&which, "would redrive", count, "");
    }
    filter.limit = rate.map_or(PAGE, step);
    let stop = CancellationToken::new();
    let broker = start_broker(&config, "dead redrive", stop.clone())?;
    let (redriven, more) = if let Some((broker, supervisor)) = broker {
        let supervisor = tokio::spawn(supervisor);
        let redriven = redrive_to(&broker.publisher(), &store, filter, rate).await;
        stop.cancel();
        supervisor.await.map_err(anyhow::Error::from)??;
        (redriven?, "; workers count them like any delivery")
    } else {
        let (queue, more) = local_queue(&config, &store).await?;
        (redrive_to(&queue, &store, filter, rate).await?, more)
    };
    said(&which, "redrove", redriven.published, more)?;
    match redriven.unreadable {
        0 => Ok(()),
        some => Err(Trouble::Failed(format!(
            "{} of them cannot be read and stayed: `treehook dead show` tells what they hold",
            counted(some)
        ))),
    }
}

/// Letters in one step.
fn step(rate: NonZeroU32) -> u32 {
    rate.get().div_ceil(STEPS_PER_SECOND).min(PAGE)
}

/// The queue that a `treehook serve` drains, and what becomes of what is put there. Not made here:
/// nobody would ever look into it.
async fn local_queue(config: &Config, store: &Store) -> Result<(Queue, &'static str), Trouble> {
    let limits = QueueLimits { max_bytes: config.outbox_max };
    let more = match (crate::datadir::is_held(&config.data_dir), store) {
        (true, _) => "; `treehook serve` counts them like any delivery",
        // The letters are from this very directory: who serves it next will find them.
        (false, Store::Sqlite(_)) => "; they count when `treehook serve` is started again",
        (false, Store::Postgres(_)) => {
            let place = config.data_dir.display();
            return Err(Trouble::Failed(format!(
                "no `treehook serve` works on {place}, so nobody would count what is redriven: \
                 start it, name its directory with --data-dir, or set TREEHOOK_AMQP_URL as the \
                 workers have it"
            )));
        }
    };
    Ok((Queue::open_existing(&config.data_dir, limits).await?, more))
}

/// What a redrive came to.
#[derive(Debug, Clone, Copy, Default)]
struct Redriven {
    /// Letters whose events are in the queue.
    published: usize,
    /// Letters that cannot be read, and stay.
    unreadable: usize,
}

async fn redrive_to<P: Publisher>(
    publisher: &P,
    store: &Store,
    filter: DeadFilter,
    rate: Option<NonZeroU32>,
) -> Result<Redriven, Trouble> {
    let mut redriven = Redriven::default();
    for_each_page(store, filter, async |letters| {
        let started = Instant::now();
        let (readable, unreadable) = readable(letters);
        redriven.unreadable += unreadable;
        redrive_patiently(publisher, store, &readable).await?;
        redriven.published += readable.len();
        if let Some(rate) = rate {
            let count = u32::try_from(letters.len()).unwrap_or(u32::MAX);
            sleep_until(started + Duration::from_secs(1) * count / rate.get()).await;
        }
        Ok(())
    })
    .await?;
    Ok(redriven)
}

/// Those that can be read, and how many cannot: one of them must not keep the others here.
fn readable(letters: &[DeadLetter]) -> (Vec<DeadLetter>, usize) {
    let mut readable = Vec::with_capacity(letters.len());
    for letter in letters {
        match events_of(letter) {
            Ok(_) => readable.push(letter.clone()),
            Err(failure) => warn!("{}", failure.cause().detail),
        }
    }
    let unreadable = letters.len() - readable.len();
    (readable, unreadable)
}

async fn redrive_patiently<P: Publisher>(
    publisher: &P,
    store: &Store,
    letters: &[DeadLetter],
) -> Result<(), Failure> {
    let never = CancellationToken::new();
    let mut backoff = Backoff::default();
    let mut failures = 0;
    loop {
        match crate::redrive::redrive(publisher, store, letters).await {
            Err(Failure::Transient(_)) if failures < TRIES => {
                failures += 1;
                backoff.pause(&never).await;
            }
            outcome => return outcome,
        }
    }
}
