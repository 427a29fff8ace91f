//! Whatever stands in treehook.toml and in the environment becomes a configuration that can be
//! worked with, or mistakes that repeat no secret.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

use crate::treehook::config::{Config, Environment, Flags, secret_values, settings};

// The binary's own module: a library that nobody else needs is not worth it.
#[path = "../../crates/treehook/src"]
#[expect(dead_code, reason = "the binary uses more of it")]
mod treehook {
    pub(crate) mod config;
}

/// In every secret, and nowhere else.
const MARKER: &str = "mArKeR-of-a-secret";
/// What the variables are called; none that names a file, which could be any device.
const VARIABLES: [&str; 16] = [
    "TREEHOOK_DATA_DIR",
    "TREEHOOK_TOLERANCE",
    "TREEHOOK_MAX_BODY",
    "TREEHOOK_MAX_IN_FLIGHT",
    "TREEHOOK_OUTBOX_MAX",
    "TREEHOOK_BATCH_MAX",
    "TREEHOOK_PREFETCH",
    "TREEHOOK_HOLD",
    "TREEHOOK_RETENTION",
    "TREEHOOK_LOG",
    "TREEHOOK_LOG_FORMAT",
    "TREEHOOK_PERSONAL_KEYS",
    "TREEHOOK_AMQP_PREFIX",
    "TREEHOOK_AGENCY_SECRET",
    "TREEHOOK_UNKNOWN",
    "HOME",
];
const SECRETS: [&str; 7] = [
    "TREEHOOK_AMQP_URL",
    "TREEHOOK_DATABASE_URL",
    "TREEHOOK_LINKTREE_SECRET",
    "TREEHOOK_DUB_SECRET",
    "TREEHOOK_STANDARD_SECRET",
    "TREEHOOK_VISITOR_KEY",
    "TREEHOOK_API_TOKEN",
];

#[derive(Debug, Arbitrary)]
struct Given<'a> {
    file: &'a str,
    variables: Vec<(u8, &'a str)>,
    secrets: Vec<(u8, &'a str, &'a str)>,
}

/// A file in memory, one for each process.
static FILE: LazyLock<String> =
    LazyLock::new(|| format!("/dev/shm/treehook-fuzz-{}.toml", std::process::id()));

fuzz_target!(|given: Given<'_>| {
    // The file could name a device as well, and wait for it for ever. And a fuzzer that sees what it is
    // compared with puts the marker where no secret is.
    let mut open = given.variables.iter().map(|(_, value)| *value).chain([given.file]);
    if given.file.contains("_file") || open.any(|text| text.contains(MARKER)) {
        return;
    }
    std::fs::write(&*FILE, given.file).expect("memory is left");
    // Addresses as flags, which win: reading one would ask the network for a host's name.
    let flags = Flags::from([
        ("config", FILE.clone()),
        ("listen", "127.0.0.1:0".to_owned()),
        ("admin_listen", "127.0.0.1:0".to_owned()),
    ]);
    let mut environment = Environment::new();
    for (name, value) in &given.variables {
        let name = VARIABLES[usize::from(*name) % VARIABLES.len()];
        environment.insert(name.to_owned(), (*value).to_owned());
    }
    for (name, before, after) in &given.secrets {
        let name = SECRETS[usize::from(*name) % SECRETS.len()];
        environment.insert(name.to_owned(), format!("{before}{MARKER}{after}"));
    }
    for setting in settings(&flags, &environment) {
        assert!(!setting.value.contains(MARKER), "{} is shown", setting.name);
    }
    secret_values(&flags, &environment);
    match Config::load(&flags, &environment) {
        Ok(config) => check(&config),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes.iter() {
                assert!(!mistake.0.contains(MARKER), "a mistake repeats a secret");
            }
        }
    }
});

/// What the rest of the process takes for granted.
fn check(config: &Config) {
    assert!(config.max_body > 0 && config.max_in_flight > 0 && config.outbox_max > 0);
    assert!(config.batch_max > 0 && config.prefetch > 0 && config.hold.as_millis() > 0);
    assert!(config.retention_days() > 0 && config.retention_ms() > 0);
    assert!(config.retention_ms() <= i64::from(config.retention_days()) * 86_400_000);
    assert!(config.sources.iter().all(|source| !source.keys.is_empty()));
    assert!(!format!("{config:?}").contains(MARKER), "debugging shows a secret");
}
