//! The command line: commands, flags, and an example for each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flags;

mod diagnosis;

pub(crate) use diagnosis::{DebugBundle, Doctor, Erase, Explain};

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

/// What every command takes.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct Shared {
    /// Configuration file [default: treehook.toml, if there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Outbox; in embedded mode everything [default: ./treehook-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// RabbitMQ, as amqp://USER:PASSWORD@HOST:PORT/VHOST
    #[arg(long, value_name = "URL")]
    pub(crate) amqp_url: Option<String>,
    /// Postgres, as postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: SQLite in the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Level or filter of the log [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// text or json [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

/// What the public listener takes.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct Intake {
    /// Public listener: /webhooks/*, /livez, /readyz [default: 0.0.0.0:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Largest accepted age of a signature [default: 300s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) tolerance: Option<String>,
    /// Largest body [default: 256KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body: Option<String>,
    /// Deliveries in flight, at most [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) max_in_flight: Option<String>,
    /// Largest outbox; when full, deliveries are answered 503 [default: 10GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) outbox_max: Option<String>,
}

/// What a worker takes.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct Working {
    /// Events in one batch, at most [default: 2000]
    #[arg(long, value_name = "N")]
    pub(crate) batch_max: Option<String>,
    /// Messages that RabbitMQ hands out ahead [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) prefetch: Option<String>,
    /// How long events and their identities are kept [default: 400d]
    #[arg(long, value_name = "DURATION")]
    pub(crate) retention: Option<String>,
    /// Do not bring the schema up to date at start
    #[arg(long)]
    pub(crate) no_migrate: bool,
}

/// The admin listener.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct Admin {
    /// Metrics, health, read API and dashboard [default: 127.0.0.1:9090]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) admin_listen: Option<String>,
}

/// `treehook serve`.
#[derive(Debug, Args, Default)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) intake: Intake,
    #[command(flatten)]
    pub(crate) working: Working,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `treehook receive`.
#[derive(Debug, Args)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) intake: Intake,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `treehook work`.
#[derive(Debug, Args)]
pub(crate) struct Work {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) working: Working,
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// Also replay the outbox that a lost receiver left in this directory (repeatable)
    #[arg(long, value_name = "DIR")]
    pub(crate) outbox: Vec<PathBuf>,
}

/// `treehook console`.
#[derive(Debug, Args)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `treehook demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Events to send
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) events: u64,
    /// Leave when the report is printed, instead of staying up
    #[arg(long)]
    pub(crate) exit: bool,
}

/// `treehook simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The treehook to send to, with or without /webhooks/SOURCE
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Whose deliveries to imitate; a further name uses linktree's scheme
    #[arg(long, value_name = "NAME", default_value = "linktree")]
    pub(crate) source: String,
    /// The secret to sign with
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: String,
    /// Deliveries per second [default: as fast as it goes]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Events to send
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) events: u64,
    /// Stop after this long, as 30s [default: when the events are sent]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<std::time::Duration>,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,
    /// The same seed names the same profiles, links and events [default: a new one]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Share of events that are sent twice, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) duplicates: f64,
    /// Share of events that are late by days, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) late: f64,
    /// Share of deliveries with a wrong signature, 0 to 0.9
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) bad_signatures: f64,
    /// Events in one delivery
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) batch: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

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
    /// List them
    #[command(
        after_help = "Example:\n  treehook dead list --reason future_timestamp --older-than 2h"
    )]
    List(DeadList),
    /// Show one whole
    #[command(after_help = "Example:\n  treehook dead show 0f3c9f6a8d0b4a6e9a4b5f0c1d2e3f40")]
    Show(DeadShow),
    /// Hand them to the queue again; deduplicated like any delivery
    #[command(after_help = "Example:\n  treehook dead redrive --reason future_timestamp")]
    Redrive(DeadChosen),
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
    /// Buried at least this long ago, as 2h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) older_than: Option<std::time::Duration>,
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
    /// Print as JSON
    #[arg(long)]
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

/// `treehook dead redrive` and `discard`.
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
    /// Only say which
    #[arg(long)]
    pub(crate) dry_run: bool,
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

/// Collects what was given; what was not is decided by the other layers.
fn collect(given: &[(&'static str, &Option<String>)]) -> Flags {
    given.iter().filter_map(|(key, value)| Some((*key, (*value).clone()?))).collect()
}

impl Shared {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        collect(&[
            ("config", &self.config),
            ("data_dir", &self.data_dir),
            ("amqp_url", &self.amqp_url),
            ("database_url", &self.database_url),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ])
    }
}

impl Intake {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        collect(&[
            ("listen", &self.listen),
            ("tolerance", &self.tolerance),
            ("max_body", &self.max_body),
            ("max_in_flight", &self.max_in_flight),
            ("outbox_max", &self.outbox_max),
        ])
    }
}

impl Working {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        collect(&[
            ("batch_max", &self.batch_max),
            ("prefetch", &self.prefetch),
            ("retention", &self.retention),
        ])
    }
}

impl Admin {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        collect(&[("admin_listen", &self.admin_listen)])
    }
}
