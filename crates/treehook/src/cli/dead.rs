//! What `treehook dead` takes: which letters are meant, and what to do with them.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Shared;

/// `treehook dead`.
#[derive(Debug, Args)]
pub(crate) struct Dead {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: DeadCommand,
}

/// The commands of `treehook dead`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them: why, since when, how often, from whom
    #[command(
        after_help = "Example:\n  treehook dead list --reason future_timestamp --older-than 2h"
    )]
    List(DeadList),
    /// Show one whole
    #[command(after_help = "Example:\n  treehook dead show 0f3c9f6a8d0b4a6e9a4b5f0c1d2e3f40")]
    Show(DeadShow),
    /// Hand them to the queue again; deduplicated like any delivery
    ///
    /// Safe to stop and to repeat. A letter whose event fails again is back with the attempts and
    /// the first time that it had.
    #[command(
        after_help = "Example:\n  treehook dead redrive --reason future_timestamp --rate 100"
    )]
    Redrive(DeadRedrive),
    /// Give them up for good
    #[command(after_help = "Example:\n  treehook dead discard 0f3c9f6a8d0b4a6e9a4b5f0c1d2e3f40")]
    Discard(DeadChosen),
}

/// Which dead letters are meant.
#[derive(Debug, Args, Default)]
pub(crate) struct DeadFilterArgs {
    /// Whole reason, or what stands before its colon
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Event type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Profile that the event names
    #[arg(long, value_name = "ID")]
    pub(crate) profile: Option<String>,
    /// Buried last at least this long ago, as 2h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Buried last at most this long ago, as 30m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) newer_than: Option<Duration>,
}

/// How dead letters are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people, in 80 columns.
    Table,
    /// For programs.
    Json,
}

/// `treehook dead list`.
#[derive(Debug, Args)]
pub(crate) struct DeadList {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) filter: DeadFilterArgs,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    /// Short for `--format json`
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// `treehook dead show`.
#[derive(Debug, Args)]
pub(crate) struct DeadShow {
    #[command(flatten)]
    pub(crate) shared: Shared,
    /// Its id, from `treehook dead list`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// `treehook dead redrive`.
#[derive(Debug, Args)]
pub(crate) struct DeadRedrive {
    #[command(flatten)]
    pub(crate) chosen: DeadChosen,
    /// Letters per second; as fast as the queue takes them without it
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
}

/// `treehook dead discard`, and what `redrive` shares with it.
#[derive(Debug, Args)]
pub(crate) struct DeadChosen {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) filter: DeadFilterArgs,
    /// Ids, from `treehook dead list`
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Only say how many
    #[arg(long)]
    pub(crate) dry_run: bool,
}
