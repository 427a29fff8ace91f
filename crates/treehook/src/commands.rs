//! What each command does, from its flags to its exit code.

mod dead;
mod debug_bundle;
mod demo;
mod doctor;
mod erase;
mod explain;
mod outbox;
mod report;
mod serve;
mod simulate;
mod table;
mod verify;
mod webhooks;

use std::io::Write as _;

use crate::Trouble;
use crate::cli::{Command, Shared};
use crate::config::{self, Config, Flags};
use crate::store::Store;
use crate::telemetry;

/// Runs one.
pub(crate) async fn run(command: Command) -> Result<(), Trouble> {
    match command {
        Command::Serve(args) => serve::serve(args).await,
        Command::Receive(args) => serve::receive(args).await,
        Command::Work(args) => serve::work(args).await,
        Command::Console(args) => serve::console(args).await,
        Command::Migrate(shared) => migrate(&shared).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Simulate(args) => simulate::simulate(args).await,
        Command::Report(args) => report::report(args).await,
        Command::Dead(args) => dead::dead(args.command).await,
        Command::Outbox(args) => outbox::outbox(args.command).await,
        Command::Verify(args) => verify::verify(args).await,
        Command::Webhooks(args) => webhooks::webhooks(args).await,
        Command::Explain(args) => explain::explain(&args),
        Command::Doctor(args) => doctor::doctor(&args).await,
        Command::DebugBundle(args) => debug_bundle::debug_bundle(&args).await,
        Command::Erase(args) => erase::erase(&args).await,
    }
}

/// The configuration of a command, with its log started.
pub(crate) fn configured(flags: &Flags) -> Result<Config, Trouble> {
    let environment = config::environment()?;
    let config = Config::load(flags, &environment)?;
    telemetry::start_log(&config.log, config.log_format);
    Ok(config)
}

/// The configuration and the store of a command that looks at what is there.
async fn opened(shared: &Shared) -> Result<(Config, Store), Trouble> {
    let mut flags = shared.flags();
    // What a looking command logs is of interest only when it is a warning.
    flags.entry("log").or_insert_with(|| "warn".to_owned());
    let config = configured(&flags)?;
    let store = Store::open_existing(config.database_url.as_ref(), &config.data_dir).await?;
    store.check_schema().await?;
    Ok((config, store))
}

async fn migrate(shared: &Shared) -> Result<(), Trouble> {
    let config = configured(&shared.flags())?;
    if config.database_url.is_none() {
        crate::datadir::create(&config.data_dir)?;
    }
    let store = Store::open(config.database_url.as_ref(), &config.data_dir).await?;
    store.migrate().await?;
    print("the schema is up to date\n")
}

/// Writes a result to stdout. A reader that has seen enough, as `head`, is no error.
fn print(text: &str) -> Result<(), Trouble> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
