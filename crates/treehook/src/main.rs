//! treehook: verifies, accepts durably, dedupes, aggregates and replays webhook events of
//! link-in-bio platforms. This is the roof: it knows every part and decides nothing.

mod admin;
mod books;
mod cli;
mod clock;
mod commands;
mod config;
mod datadir;
mod journal;
mod process;
mod redrive;
mod roles;
mod store;
mod store_subjects;
mod telemetry;
#[cfg(feature = "test-hooks")]
mod test_hooks;
mod threads;
mod upkeep;
mod vitals;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use treehook_event::Failure;

use crate::config::Mistakes;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Why a command did not do what it was asked to.
pub(crate) enum Trouble {
    /// Wrong usage or configuration: exit code 2.
    Usage(Mistakes),
    /// It failed: exit code 1.
    Failed(String),
    /// It worked, and found what it was to look for, as differences: exit code 1, said already.
    Found,
}

impl From<Mistakes> for Trouble {
    fn from(mistakes: Mistakes) -> Self {
        Self::Usage(mistakes)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause();
        let setting = match cause.reason {
            "configuration" | "outbox" => "",
            "broker_url" | "broker_refused" => "TREEHOOK_AMQP_URL: ",
            "database_url"
            | "refused_credentials"
            | "missing_database"
            | "missing_privilege"
            | "encoding" => "TREEHOOK_DATABASE_URL: ",
            "topology_name" => "TREEHOOK_AMQP_PREFIX: ",
            _ => return Self::Failed(cause.detail.clone()),
        };
        Self::Usage(Mistakes::one(format!("{setting}{}", cause.detail)))
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return complain("another TLS provider is installed", 1);
    }
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if matches!(cli.command, cli::Command::Work(_)) {
        threads.worker_threads(threads::all_cores_but_one());
    }
    let runtime = match threads.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the runtime did not start: {error}"), 1),
    };
    let outcome = runtime.block_on(commands::run(cli.command));
    // Dropped, it would wait for its threads: one that looks up a name may take half a minute more.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Found) => ExitCode::from(1),
        Err(Trouble::Failed(text)) => complain(&text, 1),
        Err(Trouble::Usage(mistakes)) => {
            let lines: Vec<&str> = mistakes.iter().map(|mistake| mistake.0.as_str()).collect();
            complain(&lines.join("\ntreehook: "), 2)
        }
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(std::io::stderr(), "treehook: {text}"));
    ExitCode::from(code)
}
