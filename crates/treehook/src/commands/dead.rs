//! `dead`: listing, showing, redriving and discarding dead letters.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use treehook_event::{DeadFilter, DeadLetter, EventStore as _, Failure, Key, Publisher};
use treehook_pipeline::Backoff;
use treehook_sqlite::{Queue, QueueLimits};

use super::table::{Table, shortened};
use super::{opened, print};
use crate::Trouble;
use crate::cli::{DeadChosen, DeadCommand, DeadFilterArgs, DeadList, DeadShow};
use crate::clock;
use crate::config::{Config, Mistakes};
use crate::roles::start_broker;
use crate::store::Store;

/// Dead letters handled at once.
const PAGE: u32 = 500;
/// Tries to reach the broker before redrive gives up: about half a minute.
const TRIES: u32 = 10;

pub(super) async fn dead(command: DeadCommand) -> Result<(), Trouble> {
    match command {
        DeadCommand::List(args) => list(args).await,
        DeadCommand::Show(args) => show(args).await,
        DeadCommand::Redrive(args) => redrive(args).await,
        DeadCommand::Discard(args) => discard(args).await,
    }
}

fn filter(args: &DeadFilterArgs, ids: &[String], limit: u32) -> Result<DeadFilter, Trouble> {
    let ids: Option<Vec<Key>> = ids.iter().map(|id| Key::from_hex(id)).collect();
    let age = args.older_than.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    Ok(DeadFilter {
        reason: args.reason.clone(),
        source: args.source.clone(),
        event_type: args.event_type.clone(),
        last_before: age.map(|age| clock::now().plus_millis(-age)),
        ids: ids
            .ok_or_else(|| usage("an id has 32 hexadecimal digits, as `dead list` shows it"))?,
        after: None,
        limit,
    })
}

fn usage(text: &str) -> Trouble {
    Trouble::Usage(Mistakes::one(text))
}

async fn list(args: DeadList) -> Result<(), Trouble> {
    let filter = filter(&args.filter, &[], args.limit)?;
    let (_, store) = opened(&args.shared).await?;
    let letters = store.dead_letters(&filter).await?;
    if args.json {
        let letters: Vec<Value> = letters.iter().map(summary).collect();
        return print(&format!("{}\n", Value::from(letters)));
    }
    if letters.is_empty() {
        return print("no dead letters\n");
    }
    // An id is to be copied, so it stays on one line; sources and types are in `show` and `--json`.
    let mut table = Table::new(&["id", "buried last", "reason"]);
    for letter in &letters {
        let last = letter.last_at.to_rfc3339().replace('T', " ");
        table.row(&[&letter.id(), &last[..16], &shortened(&letter.reason, 26)]);
    }
    print(&table.to_string())
}

fn summary(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id(),
        "reason": letter.reason,
        "source": letter.source.as_str(),
        "identity": letter.identity.as_str(),
        "type": letter.event_type.as_str(),
        "occurred_at": letter.occurred_at.to_rfc3339(),
        "first_at": letter.first_at.to_rfc3339(),
        "last_at": letter.last_at.to_rfc3339(),
        "attempts": letter.attempts,
    })
}

async fn show(args: DeadShow) -> Result<(), Trouble> {
    let filter = filter(&DeadFilterArgs::default(), std::slice::from_ref(&args.id), 1)?;
    let (_, store) = opened(&args.shared).await?;
    let letters = store.dead_letters(&filter).await?;
    let letter = letters
        .first()
        .ok_or_else(|| Trouble::Failed(format!("no dead letter has the id {}", args.id)))?;
    let mut shown = summary(letter);
    // What does not parse is shown as the text it is.
    shown["event"] =
        serde_json::from_str(&letter.event).unwrap_or_else(|_| letter.event.clone().into());
    let text = serde_json::to_string_pretty(&shown).map_err(anyhow::Error::from)?;
    print(&format!("{text}\n"))
}

fn chosen(args: &DeadChosen) -> Result<DeadFilter, Trouble> {
    let narrowed = args.filter.reason.is_some()
        || args.filter.source.is_some()
        || args.filter.event_type.is_some()
        || args.filter.older_than.is_some();
    if args.ids.is_empty() && !args.all && !narrowed {
        return Err(usage("say which: ids, --reason, --source, --type, --older-than or --all"));
    }
    filter(&args.filter, &args.ids, PAGE)
}

/// Every page of what the filter means, one after the other.
async fn for_each_page(
    store: &Store,
    mut filter: DeadFilter,
    mut act: impl AsyncFnMut(&[DeadLetter]) -> Result<(), Trouble>,
) -> Result<usize, Trouble> {
    let mut count = 0;
    loop {
        let letters = store.dead_letters(&filter).await?;
        let Some(last) = letters.last() else { return Ok(count) };
        filter.after = Some(last.key());
        act(&letters).await?;
        count += letters.len();
    }
}

async fn discard(args: DeadChosen) -> Result<(), Trouble> {
    let filter = chosen(&args)?;
    let (_, store) = opened(&args.shared).await?;
    let count = for_each_page(&store, filter, async |letters| {
        if !args.dry_run {
            store.remove_dead_letters(&crate::redrive::as_read(letters)).await?;
        }
        Ok(())
    })
    .await?;
    said(&args, if args.dry_run { "would discard" } else { "discarded" }, count, "")
}

async fn redrive(args: DeadChosen) -> Result<(), Trouble> {
    let filter = chosen(&args)?;
    let (config, store) = opened(&args.shared).await?;
    if args.dry_run {
        let count = for_each_page(&store, filter, async |_| Ok(())).await?;
        return said(&args, "would redrive", count, "");
    }
    let stop = CancellationToken::new();
    let count = match start_broker(&config, "dead redrive", stop.clone())? {
        Some((broker, supervisor)) => {
            let supervisor = tokio::spawn(supervisor);
            let redriven = redrive_to(&broker.publisher(), &store, filter).await;
            stop.cancel();
            supervisor.await.map_err(anyhow::Error::from)??;
            redriven?
        }
        None => redrive_to(&local_queue(&config).await?, &store, filter).await?,
    };
    said(&args, "redrove", count, "; workers count them like any delivery")
}

/// What was done; ids that name nothing are a mistake, a filter that finds nothing is not.
fn said(args: &DeadChosen, verb: &str, count: usize, more: &str) -> Result<(), Trouble> {
    let noun = if count == 1 { "dead letter" } else { "dead letters" };
    print(&format!("{verb} {count} {noun}{more}\n"))?;
    match args.ids.len().checked_sub(count) {
        None | Some(0) => Ok(()),
        Some(missing) => Err(Trouble::Failed(format!("{missing} of the ids name no dead letter"))),
    }
}

/// The queue that a `treehook serve` drains. Not made here: nobody would ever look into it.
async fn local_queue(config: &Config) -> Result<Queue, Trouble> {
    let limits = QueueLimits { max_bytes: config.outbox_max };
    if !crate::datadir::is_held(&config.data_dir) {
        let place = config.data_dir.display();
        return Err(Trouble::Failed(format!(
            "no `treehook serve` works on {place}, so nobody would count what is redriven: start it, \
             name its directory with --data-dir, or set TREEHOOK_AMQP_URL as the workers have it"
        )));
    }
    Ok(Queue::open_existing(&config.data_dir, limits).await?)
}

async fn redrive_to<P: Publisher>(
    publisher: &P,
    store: &Store,
    filter: DeadFilter,
) -> Result<usize, Trouble> {
    for_each_page(store, filter, async |letters| {
        redrive_patiently(publisher, store, letters).await?;
        Ok(())
    })
    .await
}

async fn redrive_patiently<P: Publisher>(
    publisher: &P,
    store: &Store,
    letters: &[DeadLetter],
) -> Result<u64, Failure> {
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
