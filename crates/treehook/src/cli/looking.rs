//! What the commands take that look at what is there, or mend it.

use clap::{Args, Subcommand, ValueEnum};

use super::Shared;

/// `treehook report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) shared: Shared,
    /// The profile; without it: all profiles
    #[arg(long, value_name = "ID")]
    pub(crate) profile: Option<String>,
    /// The period [default: `last_30_days`]
    #[arg(long, value_name = "PERIOD", value_parser = ["last_24_hours", "last_7_days", "last_30_days", "last_90_days"], conflicts_with_all = ["from", "to"])]
    pub(crate) period: Option<String>,
    /// First day or moment, as 2026-11-01
    #[arg(long, value_name = "WHEN")]
    pub(crate) from: Option<String>,
    /// Last day (included) or end moment [default: today]
    #[arg(long, value_name = "WHEN", requires = "from")]
    pub(crate) to: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Print it anew every 5 s until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, in 80 columns.
    Table,
    /// As the API answers it.
    Json,
    /// For spreadsheets.
    Csv,
}

/// `treehook outbox`.
#[derive(Debug, Args)]
pub(crate) struct Outbox {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: OutboxCommand,
}

/// The commands of `treehook outbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Depth, age of the oldest event, size
    #[command(after_help = "Example:\n  treehook outbox status --json")]
    Status(OutboxStatus),
    /// Publish what it holds to RabbitMQ now
    #[command(after_help = "Example:\n  treehook outbox replay --amqp-url amqp://mq")]
    Replay(Shared),
}

/// `treehook outbox status`.
#[derive(Debug, Args)]
pub(crate) struct OutboxStatus {
    #[command(flatten)]
    pub(crate) shared: Shared,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `treehook verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) shared: Shared,
    /// Rebuild what differs
    #[arg(long)]
    pub(crate) repair: bool,
    /// How long to wait for promised events that no queue holds before they are called missing: a
    /// worker may hold a batch for as long as this
    #[arg(long, value_name = "DURATION", default_value = "200s", value_parser = humantime::parse_duration)]
    pub(crate) grace: std::time::Duration,
}

/// `treehook webhooks`.
#[derive(Debug, Args)]
pub(crate) struct Webhooks {
    /// Use Linktree's sandbox: permits tokens that start with `lt_test_`
    #[arg(long, global = true)]
    pub(crate) sandbox: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: WebhooksCommand,
}

/// The commands of `treehook webhooks`.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Register an endpoint
    #[command(
        after_help = "Example:\n  LINKTREE_API_KEY=... treehook webhooks register --url https://hooks.example.com/webhooks/linktree --events link.clicked"
    )]
    Register {
        /// The public address of `/webhooks/linktree`
        #[arg(long)]
        url: String,
        /// Event types, comma-separated
        #[arg(long, value_delimiter = ',', required = true)]
        events: Vec<String>,
    },
    /// List what is registered
    #[command(after_help = "Example:\n  LINKTREE_API_KEY=... treehook webhooks list")]
    List,
    /// Delete one
    #[command(after_help = "Example:\n  LINKTREE_API_KEY=... treehook webhooks delete wh_1")]
    Delete {
        /// Its id, from `treehook webhooks list`
        id: String,
    },
}
