//! The command line: commands, flags, and an example for each.

mod dead;
mod diagnosis;
mod looking;
mod roles;
mod traffic;

use clap::{Parser, Subcommand};

pub(crate) use dead::{
    Dead, DeadChosen, DeadCommand, DeadFilterArgs, DeadList, DeadRedrive, DeadShow, ListFormat,
};
pub(crate) use diagnosis::{DebugBundle, Doctor, Erase, Explain};
pub(crate) use looking::{
    Format, Outbox, OutboxCommand, OutboxStatus, Report, Verify, Webhooks, WebhooksCommand,
};
pub(crate) use roles::{Admin, ConsoleArgs, Receive, Serve, Shared, Work};
pub(crate) use traffic::{Demo, Simulate};

/// Verifies, accepts durably, dedupes, aggregates and replays webhook events of link-in-bio
/// platforms.
#[derive(Debug, Parser)]
#[command(
    name = "treehook",
    version,
    max_term_width = 100,
    after_help = "Example:\n  TREEHOOK_LINKTREE_SECRET=... treehook serve\n\n\
                  Settings come from flags, then TREEHOOK_* variables, then treehook.toml."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of INTERFACE.md.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every role in one process; with nothing but a secret: embedded, on SQLite
    #[command(
        after_help = "Example:\n  TREEHOOK_LINKTREE_SECRET=s3cret treehook serve --data-dir /var/lib/treehook"
    )]
    Serve(Serve),
    /// The receiver and its relay; needs RabbitMQ, keeps an outbox on local disk
    #[command(
        after_help = "Example:\n  TREEHOOK_LINKTREE_SECRET=s3cret TREEHOOK_AMQP_URL=amqp://mq treehook receive"
    )]
    Receive(Receive),
    /// A consumer worker; needs RabbitMQ and Postgres; start as many as you like
    #[command(
        after_help = "Example:\n  TREEHOOK_AMQP_URL=amqp://mq TREEHOOK_DATABASE_URL=postgres://db/treehook treehook work"
    )]
    Work(Work),
    /// The read API, the dashboard and the metrics, on their own
    #[command(
        after_help = "Example:\n  TREEHOOK_DATABASE_URL=postgres://db/treehook treehook console --admin-listen 127.0.0.1:9090"
    )]
    Console(ConsoleArgs),
    /// Bring the database schema up to date; safe when many start at once
    #[command(
        after_help = "Example:\n  TREEHOOK_DATABASE_URL=postgres://db/treehook treehook migrate"
    )]
    Migrate(Shared),
    /// Embedded mode on free ports in a temporary directory, with a month of signed traffic
    #[command(after_help = "Example:\n  treehook demo --events 5000 --exit")]
    Demo(Demo),
    /// Signed load against any treehook
    #[command(
        after_help = "Example:\n  treehook simulate --url http://127.0.0.1:8080 --source linktree --secret s3cret --events 10000 --concurrency 8"
    )]
    Simulate(Simulate),
    /// Views, clicks, visitors, links and audience of a profile, or of all profiles
    #[command(
        after_help = "Example:\n  treehook report --profile prof_1 --period last_30_days --format json"
    )]
    Report(Report),
    /// Dead letters: events that could not be counted as they stand
    #[command(after_help = "Example:\n  treehook dead list --reason missing_field")]
    Dead(Dead),
    /// The local outbox: how full it is; replay it now
    #[command(after_help = "Example:\n  treehook outbox status --data-dir /var/lib/treehook")]
    Outbox(Outbox),
    /// Recount the archive against the rollups; exit 1 if anything differs
    #[command(after_help = "Example:\n  treehook verify --repair")]
    Verify(Verify),
    /// Register, list and delete webhooks at Linktree's API
    #[command(
        after_help = "Example:\n  LINKTREE_API_KEY=... treehook webhooks register --url https://hooks.example.com/webhooks/linktree --events link.clicked,profile.viewed"
    )]
    Webhooks(Webhooks),
    /// Why a captured request is refused; exit 1 if it is
    #[command(
        after_help = "Example:\n  treehook explain --source linktree --body body.json --headers headers.txt --at 2026-11-24T08:15:00Z"
    )]
    Explain(Explain),
    /// Check configuration, secrets, clock, disk, broker, database, schema; exit 1 if one fails
    #[command(after_help = "Example:\n  treehook doctor --data-dir /var/lib/treehook")]
    Doctor(Doctor),
    /// Pack what a helper needs to see into a .tar.gz: no secret and no personal data in it
    #[command(
        after_help = "Example:\n  treehook debug-bundle --log /var/log/treehook.log --output bundle.tar.gz"
    )]
    DebugBundle(DebugBundle),
    /// Forget a visitor or a profile for good; survives `verify --repair`
    #[command(after_help = "Example:\n  treehook erase --visitor v_81c3 --yes")]
    Erase(Erase),
}
