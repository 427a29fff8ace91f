//! The ledger: whether everything that was promised was kept.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use treehook_event::{Account, EventStore as _, Failure, Timestamp};
use treehook_rabbitmq::BrokerState;
use treehook_sqlite::{Queue, QueueLimits};

use super::super::print;
use crate::Trouble;
use crate::books::balances;
use crate::config::Config;
use crate::roles::start_broker;
use crate::store::Store;

/// How often to look again for what no queue holds.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long to wait for the broker's answer.
const BROKER_MAX: Duration = Duration::from_secs(10);
/// Ranges of missing numbers that are named for each counting.
const NAMED_MAX: usize = 20;

/// What waits where workers find it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Something,
    /// The queue cannot be asked from here.
    Unknown,
}

/// Prints the balance of each source, and what is missing. Exit code 1 if anything is.
pub(super) async fn audit(config: &Config, store: &Store, grace: Duration) -> Result<(), Trouble> {
    let deadline = Instant::now() + grace;
    let (accounts, waiting) = loop {
        // The queue first: what leaves it in between is settled when the ledger is read.
        let queued = waiting(config).await?;
        let accounts = store.ledger().await?;
        let waiting = if outboxes(&accounts) > 0 { Waiting::Something } else { queued };
        let is_settled = accounts.iter().all(|account| account.unsettled().is_empty());
        if is_settled || waiting != Waiting::Nothing || Instant::now() >= deadline {
            break (accounts, waiting);
        }
        sleep(LOOK_EVERY).await;
    };
    let mut text = String::new();
    let written = write_balances(&mut text, &accounts, waiting)
        .and_then(|()| write_missing(&mut text, &accounts, waiting));
    let missing = written.map_err(anyhow::Error::from)?;
    print(&text)?;
    if missing == 0 { Ok(()) } else { Err(Trouble::Found) }
}

fn write_balances(text: &mut String, accounts: &[Account], waiting: Waiting) -> std::fmt::Result {
    for (source, balance) in balances(accounts) {
        writeln!(
            text,
            "ledger {source}: {} accepted = {} applied + {} duplicates + {} dead + {} in flight; \
             {} void",
            balance.accepted,
            balance.applied,
            balance.duplicates,
            balance.dead,
            balance.in_flight,
            balance.void
        )?;
        if balance.in_flight > 0 && waiting == Waiting::Unknown {
            writeln!(
                text,
                "ledger {source}: whether what is in flight is in the queue cannot be seen from \
                 here: set TREEHOOK_AMQP_URL, or TREEHOOK_DATA_DIR to the receiver's"
            )?;
        }
    }
    Ok(())
}

/// Names what nothing holds any more; answers how many events that are.
fn write_missing(
    text: &mut String,
    accounts: &[Account],
    waiting: Waiting,
) -> Result<u64, std::fmt::Error> {
    if waiting != Waiting::Nothing {
        return Ok(0);
    }
    let mut missing = 0;
    for account in accounts {
        let gaps = account.unsettled();
        if gaps.is_empty() {
            continue;
        }
        missing += gaps.count();
        let counting = &account.counting;
        let since = i64::try_from(counting.epoch).map(Timestamp::from_millis).unwrap_or_default();
        let named: Vec<String> = gaps
            .ranges()
            .take(NAMED_MAX)
            .map(|range| format!("{}-{}", range.start, range.end - 1))
            .collect();
        let more = if gaps.pieces() > NAMED_MAX { " and more" } else { "" };
        writeln!(
            text,
            "ledger {}: {} promised events are missing: numbers {}{more} of receiver {} since {}",
            counting.source,
            gaps.count(),
            named.join(", "),
            counting.receiver,
            since.to_rfc3339()
        )?;
    }
    Ok(missing)
}

/// Events that wait in outboxes, by the receivers' latest statements.
fn outboxes(accounts: &[Account]) -> u64 {
    accounts.iter().filter_map(|account| account.statement.as_ref()).map(|last| last.outbox).sum()
}

async fn waiting(config: &Config) -> Result<Waiting, Failure> {
    let depth = if config.amqp_url.is_some() {
        broker_depth(config).await?
    } else if config.data_dir.join("queue.db").is_file() {
        let limits = QueueLimits { max_bytes: config.outbox_max };
        Some(Queue::open(&config.data_dir, limits).await?.depth().await?.events)
    } else {
        None
    };
    Ok(match depth {
        None => Waiting::Unknown,
        Some(0) => Waiting::Nothing,
        Some(_) => Waiting::Something,
    })
}

/// Messages in the broker's queues; none when it does not answer.
async fn broker_depth(config: &Config) -> Result<Option<u64>, Failure> {
    let stop = CancellationToken::new();
    let Some((broker, task)) = start_broker(config, "verify", stop.clone())? else {
        return Ok(None);
    };
    let task = tokio::spawn(task);
    let mut state = broker.state();
    let answer = async {
        state.wait_for(|state| *state != BrokerState::Down).await.ok()?;
        broker.queue_depth().await.ok()
    };
    let depths = timeout(BROKER_MAX, answer).await.ok().flatten();
    stop.cancel();
    task.await.map_err(|error| Failure::fatal("panic", error))??;
    Ok(depths.map(|depths| depths.aggregate + depths.dead))
}
