//! What the commands take that make traffic.

use clap::Args;

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
