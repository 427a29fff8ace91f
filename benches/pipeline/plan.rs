//! What a run of the benchmark measures, and for how long: from the environment, so that `make` can
//! pass it on.

use std::time::Duration;

use crate::harness::Deployment;

/// Messages in fewer bytes: measured beside the default, which leaves them readable.
pub(crate) fn compress(deployment: &mut Deployment) {
    deployment.set("TREEHOOK_AMQP_COMPRESSION", "lz4");
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Parts, or everything: `ONLY=ingest,worker`.
    only: Vec<String>,
    /// Runs of each thing, interleaved with those of what it is compared to: `ROUNDS`.
    pub(crate) rounds: usize,
    /// How long one run of a load takes: `SECONDS`.
    pub(crate) seconds: f64,
    /// Events in the queue of one run of a relay, and a twelfth of a worker's: `EVENTS`.
    pub(crate) events: u64,
    /// Rows that are in the archive before a worker starts, where that matters: `ARCHIVE`.
    pub(crate) archive: u64,
    /// Settings of what is measured, to find out what they do: `SETTINGS="TREEHOOK_BATCH_MAX=5000 ..."`.
    settings: Vec<(String, String)>,
}

impl Plan {
    pub(crate) fn from_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str, default: f64| {
            text(name).map_or(default, |text| {
                text.parse().unwrap_or_else(|_| panic!("{name} is to be a number"))
            })
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "numbers that somebody typed"
        )]
        let count = |name: &str, default: f64| number(name, default).max(1.0) as u64;
        Self {
            only: text("ONLY").map_or_else(Vec::new, |names| {
                names.split(',').map(|name| name.trim().to_owned()).collect()
            }),
            rounds: usize::try_from(count("ROUNDS", 5.0)).unwrap(),
            seconds: number("SECONDS", 1.5),
            events: count("EVENTS", 60_000.0),
            archive: count("ARCHIVE", 100_000.0),
            settings: text("SETTINGS").map_or_else(Vec::new, |settings| {
                let settings = settings.split_whitespace();
                let pair = |setting: &str| {
                    let (name, value) = setting.split_once('=').expect("NAME=VALUE");
                    (name.to_owned(), value.to_owned())
                };
                settings.map(pair).collect()
            }),
        }
    }

    /// Whether this part is to be measured.
    pub(crate) fn asks(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }

    /// Sets what is measured to what was asked for beside its defaults.
    pub(crate) fn set(&self, deployment: &mut Deployment) {
        for (name, value) in &self.settings {
            deployment.set(name, value);
        }
    }

    /// How long one run of a load takes.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}
