//! What the roles take, and how flags become settings.

use std::path::PathBuf;

use clap::Args;

use crate::config::Flags;

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
    /// Events in one batch, at most [default: 5000]
    #[arg(long, value_name = "N")]
    pub(crate) batch_max: Option<String>,
    /// Messages that RabbitMQ hands out ahead [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) prefetch: Option<String>,
    /// How long a batch is held through an outage of the database [default: 3m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) hold: Option<String>,
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

/// Collects what was given; what was not is decided by the other layers.
pub(super) fn collect(given: &[(&'static str, &Option<String>)]) -> Flags {
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
            ("hold", &self.hold),
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
