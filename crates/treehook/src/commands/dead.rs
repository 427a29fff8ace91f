//! `dead`: listing, showing, redriving and discarding dead letters.

mod listing;
mod redriving;

use std::time::Duration;

use treehook_event::{DeadFilter, DeadLetter, EventStore as _, Key, Timestamp};

use super::{opened, print};
use crate::Trouble;
use crate::cli::{DeadChosen, DeadCommand, DeadFilterArgs, DeadList, DeadShow, ListFormat};
use crate::clock;
use crate::config::Mistakes;
use crate::store::Store;

/// Dead letters handled at once.
const PAGE: u32 = 500;

pub(super) async fn dead(command: DeadCommand) -> Result<(), Trouble> {
    match command {
        DeadCommand::List(args) => list(args).await,
        DeadCommand::Show(args) => show(args).await,
        DeadCommand::Redrive(args) => redriving::redrive(args).await,
        DeadCommand::Discard(args) => discard(args).await,
    }
}

async fn list(args: DeadList) -> Result<(), Trouble> {
    let filter = filter(&args.filter, &[], args.limit)?;
    let (_, store) = opened(&args.shared).await?;
    let letters = store.dead_letters(&filter).await?;
    let format = if args.json { ListFormat::Json } else { args.format };
    print(&match format {
        ListFormat::Json => listing::json(&letters, clock::now()),
        ListFormat::Table => listing::table(&letters, clock::now()),
    })
}

async fn show(args: DeadShow) -> Result<(), Trouble> {
    let filter = filter(&DeadFilterArgs::default(), std::slice::from_ref(&args.id), 1)?;
    let (_, store) = opened(&args.shared).await?;
    let letters = store.dead_letters(&filter).await?;
    let letter = letters
        .first()
        .ok_or_else(|| Trouble::Failed(format!("no dead letter has the id {}", args.id)))?;
    print(&listing::whole(letter, clock::now()))
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

fn filter(args: &DeadFilterArgs, ids: &[String], limit: u32) -> Result<DeadFilter, Trouble> {
    let ids: Option<Vec<Key>> = ids.iter().map(|id| Key::from_hex(id)).collect();
    Ok(DeadFilter {
        reason: args.reason.clone(),
        source: args.source.clone(),
        event_type: args.event_type.clone(),
        profile: args.profile.clone(),
        last_before: args.older_than.map(ago),
        last_after: args.newer_than.map(ago),
        ids: ids
            .ok_or_else(|| usage("an id has 32 hexadecimal digits, as `dead list` shows it"))?,
        after: None,
        limit,
    })
}

fn ago(age: Duration) -> Timestamp {
    clock::now().plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

fn usage(text: &str) -> Trouble {
    Trouble::Usage(Mistakes::one(text))
}

/// Nothing is dealt with that nobody named.
fn chosen(args: &DeadChosen) -> Result<DeadFilter, Trouble> {
    let DeadFilterArgs { reason, source, event_type, profile, older_than, newer_than } =
        &args.filter;
    let narrowed = [reason, source, event_type, profile].into_iter().any(Option::is_some)
        || [older_than, newer_than].into_iter().any(Option::is_some);
    if args.ids.is_empty() && !args.all && !narrowed {
        return Err(usage(
            "say which: ids, --reason, --source, --type, --profile, --older-than, --newer-than or \
             --all",
        ));
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

/// What was done; ids that name nothing are a mistake, a filter that finds nothing is not.
fn said(args: &DeadChosen, verb: &str, count: usize, more: &str) -> Result<(), Trouble> {
    print(&format!("{verb} {}{more}\n", letters(count)))?;
    match args.ids.len().checked_sub(count) {
        None | Some(0) => Ok(()),
        Some(missing) => Err(Trouble::Failed(format!("{missing} of the ids name no dead letter"))),
    }
}

fn letters(count: usize) -> String {
    format!("{count} dead letter{}", if count == 1 { "" } else { "s" })
}
