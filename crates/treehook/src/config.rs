//! Configuration: flags, environment, file and defaults become one checked value, or every mistake at once.

mod inspect;
mod layers;
mod source;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use treehook_event::{Compression, PersonalKeys, Source};

pub(crate) use inspect::{
    Setting, Written, scheme_of, secret_values, secrets, settings, tolerance_seconds,
};
use layers::Layers;
pub(crate) use layers::Mistakes;

/// What flags said, by setting.
pub(crate) type Flags = BTreeMap<&'static str, String>;
/// The environment, as it was at the start.
pub(crate) type Environment = BTreeMap<String, String>;

/// The variables of this process. Those of others may be in any encoding; one of ours that is no UTF-8 is a mistake,
/// whose value is not repeated.
pub(crate) fn environment() -> Result<Environment, Mistakes> {
    let mut mistakes = Mistakes::default();
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        match value.into_string() {
            Ok(value) => Some((name, value)),
            Err(_) if name.starts_with("TREEHOOK_") => {
                mistakes.add(format!("environment: {name} is not UTF-8"));
                None
            }
            Err(_) => None,
        }
    });
    let environment = environment.collect();
    if mistakes.is_empty() { Ok(environment) } else { Err(mistakes) }
}

/// Every setting, with its default applied. INTERFACE.md says what each is for.
#[derive(Debug)]
pub(crate) struct Config {
    /// The public listener.
    pub(crate) listen: SocketAddr,
    /// Metrics, health, read API, dashboard.
    pub(crate) admin_listen: SocketAddr,
    /// Outbox; in embedded mode everything.
    pub(crate) data_dir: PathBuf,
    /// RabbitMQ; none means that the queue is local.
    pub(crate) amqp_url: Option<SecretString>,
    /// What the names of our exchanges and queues start with.
    pub(crate) amqp_prefix: String,
    /// How events are compressed on the way to the workers.
    pub(crate) amqp_compression: Compression,
    /// Postgres; none means `SQLite` in the data directory.
    pub(crate) database_url: Option<SecretString>,
    /// Who may send. Empty when no secret is configured.
    pub(crate) sources: Vec<Source>,
    /// The deployment's visitor key, if given.
    pub(crate) visitor_key: Option<SecretString>,
    /// Bearer token of the read API.
    pub(crate) api_token: Option<SecretString>,
    /// Largest body, in bytes.
    pub(crate) max_body: usize,
    /// Deliveries in flight, at most.
    pub(crate) max_in_flight: usize,
    /// Largest outbox, in bytes.
    pub(crate) outbox_max: u64,
    /// Events in one batch of a worker.
    pub(crate) batch_max: usize,
    /// Messages that the broker may hand a worker ahead of its work.
    pub(crate) prefetch: u16,
    /// How long a worker holds a batch through an outage of the database before it hands it back.
    pub(crate) hold: Duration,
    /// How long events and their identities are kept.
    pub(crate) retention: Duration,
    /// Keys removed from what is kept, beside the built-in ones.
    pub(crate) personal_keys: PersonalKeys,
    /// What is logged, in `tracing`'s filter language.
    pub(crate) log: String,
    /// How it is logged.
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Text on a terminal, else JSON.
    Auto,
}

/// The default of the setting: what CONTRACT.md section 1 says.
const TOLERANCE: &str = "300s";
/// The shortest retention: identities must outlast every retry of a sender (21 minutes) and a long outage.
const RETENTION_MIN: Duration = Duration::from_hours(24);
/// The longest: 100 years, so that arithmetic in milliseconds stays far from its limits.
const RETENTION_MAX: Duration = Duration::from_hours(24 * 36_500);

impl Config {
    /// Puts the layers together: flag, then environment, then file, then default.
    pub(crate) fn load(flags: &Flags, environment: &Environment) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let layers = Layers::read(flags, environment, &mut mistakes);
        let config = Self::from_layers(&layers, &mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn from_layers(layers: &Layers<'_>, mistakes: &mut Mistakes) -> Self {
        let tolerance = layers.value("tolerance", TOLERANCE, value::duration, mistakes);
        let sources = source::all(layers, tolerance, mistakes);
        let config = Self {
            listen: layers.value("listen", "0.0.0.0:8080", value::address, mistakes),
            admin_listen: layers.value("admin_listen", "127.0.0.1:9090", value::address, mistakes),
            data_dir: layers.value("data_dir", "./treehook-data", value::path, mistakes),
            amqp_url: layers.secret("amqp_url", value::amqp_url, mistakes),
            amqp_prefix: layers.value("amqp_prefix", "treehook.", value::amqp_prefix, mistakes),
            amqp_compression: layers.value(
                "amqp_compression",
                "none",
                value::compression,
                mistakes,
            ),
            database_url: layers.secret("database_url", value::database_url, mistakes),
            sources,
            visitor_key: layers.secret("visitor_key", value::visitor_key, mistakes),
            api_token: layers.secret("api_token", value::api_token, mistakes),
            max_body: layers.value("max_body", "256KiB", value::body_size, mistakes),
            max_in_flight: layers.value("max_in_flight", "4096", value::count, mistakes),
            outbox_max: layers.value("outbox_max", "10GiB", value::size, mistakes),
            batch_max: layers.value("batch_max", "5000", value::count, mistakes),
            prefetch: layers.value("prefetch", "256", value::prefetch, mistakes),
            hold: layers.value("hold", "3m", value::hold, mistakes),
            retention: layers.value("retention", "400d", value::duration, mistakes),
            personal_keys: PersonalKeys::with(layers.value(
                "personal_keys",
                "",
                value::list,
                mistakes,
            )),
            log: layers.value("log", "info", value::log_filter, mistakes),
            log_format: layers.value("log_format", "auto", value::log_format, mistakes),
        };
        if !(RETENTION_MIN..=RETENTION_MAX).contains(&config.retention) {
            layers.blame(
                "retention",
                "identities must be remembered for at least a day (retries of senders and outages \
                 lie in between) and at most 36,500 days",
                mistakes,
            );
        }
        config
    }

    /// Milliseconds that events and identities are kept.
    pub(crate) fn retention_ms(&self) -> i64 {
        i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX)
    }

    /// Whole days that the archive is kept: rounded up, so that no identity is forgotten while its
    /// event could still be counted.
    pub(crate) fn retention_days(&self) -> u32 {
        u32::try_from(self.retention.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
