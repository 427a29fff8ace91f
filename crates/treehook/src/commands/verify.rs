//! `verify`: recounts the archive against the rollups, and what was promised against what became of
//! it; proves both, or prints the differences.

mod promises;

use std::fmt::Write as _;

use treehook_event::EventStore as _;

use super::{opened, print};
use crate::Trouble;
use crate::cli::Verify;
use crate::store::Store;

/// Exit code 1 if anything differs, repaired or not, and if anything promised is missing.
pub(super) async fn verify(args: Verify) -> Result<(), Trouble> {
    let (config, store) = opened(&args.shared).await?;
    let recounted = recount(&args, &store).await;
    let kept = promises::audit(&config, &store, args.grace).await;
    recounted.and(kept)
}

async fn recount(args: &Verify, store: &Store) -> Result<(), Trouble> {
    let differences = store.verify(args.repair).await?;
    if differences.is_empty() {
        let applied = store.tally().await?.applied;
        return print(&format!(
            "verified: every rollup equals the archive ({applied} events applied)\n"
        ));
    }
    let mut text = String::new();
    for difference in &differences {
        let (rollup, key) = (difference.rollup, &difference.key);
        let (archive, stored) = (&difference.archive, &difference.stored);
        writeln!(text, "{rollup} {key}: archive {archive}, rollup {stored}")
            .map_err(anyhow::Error::from)?;
    }
    let what =
        if args.repair { "repaired" } else { "found; `treehook verify --repair` rebuilds them" };
    let noun = if differences.len() == 1 { "difference" } else { "differences" };
    writeln!(text, "{} {noun} {what}", differences.len()).map_err(anyhow::Error::from)?;
    print(&text)?;
    Err(Trouble::Found)
}
