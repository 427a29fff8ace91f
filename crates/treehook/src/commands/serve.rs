//! `serve`, `receive`, `work` and `console`: the commands that run until told to stop.

use tracing::info;

use super::configured;
use crate::Trouble;
use crate::cli::{ConsoleArgs, Receive, Serve, Work};
use crate::config::{Config, Mistakes};
use crate::roles::Roles;
use crate::telemetry;

/// Every role in one process.
pub(super) async fn serve(args: Serve) -> Result<(), Trouble> {
    let mut flags = args.shared.flags();
    flags.extend(args.intake.flags());
    flags.extend(args.working.flags());
    flags.extend(args.admin.flags());
    let config = configured(&flags)?;
    require_sources(&config)?;
    if config.amqp_url.is_some() && config.database_url.is_none() {
        return Err(missing(
            "TREEHOOK_DATABASE_URL",
            "RabbitMQ without Postgres has nowhere to count; \
            set it, or leave TREEHOOK_AMQP_URL out for embedded mode",
        ));
    }
    announce(&config, "serve");
    let metrics = telemetry::start_metrics()?;
    let (running, _) = Roles::new(config, metrics).serve(!args.working.no_migrate).await?;
    Ok(running.run(std::future::pending()).await?)
}

/// The receiver and its relay.
pub(super) async fn receive(args: Receive) -> Result<(), Trouble> {
    let mut flags = args.shared.flags();
    flags.extend(args.intake.flags());
    flags.extend(args.admin.flags());
    let config = configured(&flags)?;
    require_sources(&config)?;
    require_broker(&config, "receive")?;
    announce(&config, "receive");
    let metrics = telemetry::start_metrics()?;
    let (running, _) = Roles::new(config, metrics).receive().await?;
    Ok(running.run(std::future::pending()).await?)
}

/// A worker.
pub(super) async fn work(args: Work) -> Result<(), Trouble> {
    let mut flags = args.shared.flags();
    flags.extend(args.working.flags());
    flags.extend(args.admin.flags());
    let config = configured(&flags)?;
    require_broker(&config, "work")?;
    if config.database_url.is_none() {
        return Err(missing(
            "TREEHOOK_DATABASE_URL",
            "`treehook work` counts in Postgres; for SQLite use \
            `treehook serve`",
        ));
    }
    announce(&config, "work");
    let metrics = telemetry::start_metrics()?;
    let (running, _) =
        Roles::new(config, metrics).work(!args.working.no_migrate, &args.outbox).await?;
    Ok(running.run(std::future::pending()).await?)
}

/// The read API and the dashboard.
pub(super) async fn console(args: ConsoleArgs) -> Result<(), Trouble> {
    let mut flags = args.shared.flags();
    flags.extend(args.admin.flags());
    let config = configured(&flags)?;
    announce(&config, "console");
    let metrics = telemetry::start_metrics()?;
    let (running, _) = Roles::new(config, metrics).console().await?;
    Ok(running.run(std::future::pending()).await?)
}

fn announce(config: &Config, role: &str) {
    let broker = if config.amqp_url.is_some() { "rabbitmq" } else { "local" };
    let store = match (&config.database_url, role) {
        (Some(_), _) => "postgres",
        (None, "receive") => "none",
        (None, _) => "sqlite",
    };
    let version = env!("CARGO_PKG_VERSION");
    info!(version, role, queue = broker, store, "treehook starts");
}

fn require_sources(config: &Config) -> Result<(), Trouble> {
    if config.sources.is_empty() {
        return Err(missing(
            "TREEHOOK_LINKTREE_SECRET",
            "no source has a secret, so nobody could be believed; set it, or TREEHOOK_DUB_SECRET, \
             TREEHOOK_STANDARD_SECRET, or a [[source]] in treehook.toml",
        ));
    }
    Ok(())
}

fn require_broker(config: &Config, command: &str) -> Result<(), Trouble> {
    if config.amqp_url.is_none() {
        let remedy =
            format!("`treehook {command}` needs RabbitMQ; without one use `treehook serve`");
        return Err(missing("TREEHOOK_AMQP_URL", &remedy));
    }
    Ok(())
}

fn missing(setting: &str, remedy: &str) -> Trouble {
    Trouble::Usage(Mistakes::one(format!("{setting} is not set: {remedy}")))
}
