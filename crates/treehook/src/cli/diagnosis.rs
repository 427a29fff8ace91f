//! The flags of the commands that look into trouble, and of the one that forgets.

use std::path::PathBuf;

use clap::Args;
use treehook_event::Timestamp;

use super::roles::collect;
use super::{Admin, Shared};
use crate::config::Flags;

/// `treehook explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Configuration file [default: treehook.toml, if there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Whose delivery it is said to be [default: the one source that has a secret]
    #[arg(long, value_name = "NAME", conflicts_with = "scheme")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) scheme: SchemeFlags,
    /// The body, byte for byte as it arrived
    #[arg(long, value_name = "FILE")]
    pub(crate) body: PathBuf,
    /// A header as it arrived (repeatable)
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Headers as they arrived, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) headers: Option<PathBuf>,
    /// Try this secret instead of the configured ones; several with commas
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Option<String>,
    /// When it arrived: RFC 3339 or Unix seconds [default: now]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) at: Option<Timestamp>,
    /// Largest accepted age of a signature [default: 300s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) tolerance: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a sender signs, spelled out as in a `[[source]]` table.
#[derive(Debug, Args, Default)]
pub(crate) struct SchemeFlags {
    /// Where to start from, when no source is configured for it
    #[arg(long, value_name = "SCHEME", value_parser = ["linktree", "dub", "standard", "custom"])]
    pub(crate) scheme: Option<String>,
    /// The header that holds the signature
    #[arg(long, value_name = "HEADER", requires = "scheme", help_heading = "Scheme")]
    pub(crate) signature_header: Option<String>,
    /// The header that holds the signed timestamp; empty for none
    #[arg(long, value_name = "HEADER", requires = "scheme", help_heading = "Scheme")]
    pub(crate) timestamp_header: Option<String>,
    /// The timestamp is an element of the signature header with this prefix, as t=
    #[arg(long, value_name = "PREFIX", requires = "scheme", help_heading = "Scheme")]
    pub(crate) timestamp_prefix: Option<String>,
    /// The header that holds the signed message id; empty for none
    #[arg(long, value_name = "HEADER", requires = "scheme", help_heading = "Scheme")]
    pub(crate) id_header: Option<String>,
    /// hex or base64
    #[arg(long, value_name = "ENCODING", requires = "scheme", help_heading = "Scheme")]
    pub(crate) encoding: Option<String>,
    /// What stands before each signature, as sha256=
    #[arg(long, value_name = "PREFIX", requires = "scheme", help_heading = "Scheme")]
    pub(crate) prefix: Option<String>,
    /// The character between several signatures
    #[arg(long, value_name = "CHARACTER", requires = "scheme", help_heading = "Scheme")]
    pub(crate) separator: Option<String>,
    /// What is signed, as {timestamp}.{body}
    #[arg(long, value_name = "TEMPLATE", requires = "scheme", help_heading = "Scheme")]
    pub(crate) template: Option<String>,
    /// utf8, whsec or hex
    #[arg(long, value_name = "ENCODING", requires = "scheme", help_heading = "Scheme")]
    pub(crate) key_encoding: Option<String>,
    /// linktree, dub or standard
    #[arg(long, value_name = "PLATFORM", requires = "scheme", help_heading = "Scheme")]
    pub(crate) envelope: Option<String>,
}

impl SchemeFlags {
    /// As a `[[source]]` table.
    pub(crate) fn table(&self) -> toml::Table {
        [
            ("scheme", &self.scheme),
            ("signature_header", &self.signature_header),
            ("timestamp_header", &self.timestamp_header),
            ("timestamp_prefix", &self.timestamp_prefix),
            ("id_header", &self.id_header),
            ("encoding", &self.encoding),
            ("prefix", &self.prefix),
            ("separator", &self.separator),
            ("template", &self.template),
            ("key_encoding", &self.key_encoding),
            ("envelope", &self.envelope),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), toml::Value::from(value.clone()?))))
        .collect()
    }
}

impl Explain {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        collect(&[("config", &self.config), ("tolerance", &self.tolerance)])
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let number = text.parse().map(Timestamp::from_number).ok();
    number
        .or_else(|| Timestamp::from_rfc3339(text))
        .ok_or_else(|| "expected RFC 3339, as 2026-11-24T08:15:00Z, or Unix seconds".to_owned())
}

/// `treehook doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Doctor {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = self.shared.flags();
        flags.extend(self.admin.flags());
        flags
    }
}

/// `treehook debug-bundle`. Its `--log` is a file, so it cannot take what every command takes.
#[derive(Debug, Args)]
pub(crate) struct DebugBundle {
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
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// Where to write it [default: treehook-debug-TIME.tar.gz here]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Take the end of this log along, without what looks like a secret or a person
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl DebugBundle {
    /// As settings.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = collect(&[
            ("config", &self.config),
            ("data_dir", &self.data_dir),
            ("amqp_url", &self.amqp_url),
            ("database_url", &self.database_url),
        ]);
        flags.extend(self.admin.flags());
        flags
    }
}

/// `treehook erase`.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// The browser that came with --ip
    #[arg(long, value_name = "TEXT", requires = "ip")]
    pub(crate) user_agent: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who is to be forgotten.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// A visitor, by the platform's visitor id
    #[arg(long, value_name = "ID")]
    pub(crate) visitor: Option<String>,
    /// A visitor that the platform gave no id, by address and browser
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// A profile, with everything that was counted for it
    #[arg(long, value_name = "ID")]
    pub(crate) profile: Option<String>,
}
