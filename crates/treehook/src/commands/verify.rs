//! `verify`: recounts the archive against the rollups, and proves it or prints the differences.

use std::fmt::Write as _;

use treehook_event::EventStore as _;

use super::{opened, print};
use crate::Trouble;
use crate::cli::Verify;

/// Exit code 1 if anything differs, repaired or not.
pub(super) async fn verify(args: Verify) -> Result<(), Trouble> {
    let (_, store) = opened(&args.shared).await?;
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
