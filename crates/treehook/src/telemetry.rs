//! Logs and metrics: where they go, and what each metric is.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use treehook_event::REASON_LABELS;

use crate::config::LogFormat;

/// Starts logging to stderr. Libraries log their own troubles one level up from ours: lapin and
/// sqlx report as errors what we deal with and log ourselves.
pub(crate) fn start_log(filter: &str, format: LogFormat) {
    let quiet = format!("{filter},lapin=off,sqlx=off,async_rs=off");
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // A second start in one process keeps the first log.
    let started = if json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Of lags, which an outage makes long.
const LAG_SECONDS: [f64; 15] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0,
    604_800.0,
];
/// Of batches, in events.
const EVENTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0];

/// Installs the recorder of this process.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, anyhow::Error> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(
            Matcher::Full("treehook_event_lag_seconds".to_owned()),
            &LAG_SECONDS,
        )?
        .set_buckets_for_metric(Matcher::Full("treehook_apply_batch_events".to_owned()), &EVENTS)?
        .install_recorder()?;
    describe();
    gauge!("treehook_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Keeps the histograms' memory bounded: the exporter folds what was recorded only when asked to.
pub(crate) fn upkeep(handle: PrometheusHandle, stop: CancellationToken) -> JoinHandle<()> {
    const EVERY: Duration = Duration::from_secs(5);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => handle.run_upkeep(),
            }
        }
    })
}

fn describe() {
    for (name, text) in [
        ("treehook_deliveries_total", "Deliveries by source and outcome"),
        ("treehook_events_accepted_total", "Events answered 202, by source and type"),
        ("treehook_events_applied_total", "Events counted, by type"),
        ("treehook_events_duplicate_total", "Events that had been counted before"),
        ("treehook_events_dead_total", "Events buried as dead letters, by reason"),
        ("treehook_events_unknown_total", "Events of types that this version does not know"),
        ("treehook_outbox_replayed_total", "Events replayed from the outbox to the broker"),
        (
            "treehook_announcements_replayed_total",
            "Events announced late, once the broker took them",
        ),
        ("treehook_broker_reconnects_total", "Connections to the broker made anew"),
        ("treehook_secret_matches_total", "Verified deliveries by position of the secret"),
        ("treehook_urls_refused_total", "URLs that were neither http nor https"),
    ] {
        describe_counter!(name, text);
    }
    for name in [
        "treehook_events_duplicate_total",
        "treehook_outbox_replayed_total",
        "treehook_announcements_replayed_total",
        "treehook_broker_reconnects_total",
        "treehook_urls_refused_total",
    ] {
        // A counter that is there from the start can be alerted on when it first moves.
        counter!(name).increment(0);
    }
    for reason in REASON_LABELS {
        counter!("treehook_events_dead_total", "reason" => reason).increment(0);
    }
    for (name, text) in [
        ("treehook_outbox_events", "Events in the outbox"),
        ("treehook_outbox_bytes", "Bytes in the outbox"),
        ("treehook_outbox_oldest_seconds", "Age of the oldest event in the outbox"),
        ("treehook_broker_up", "1 while the broker takes publishes"),
        ("treehook_broker_blocked", "1 while the broker has blocked publishers by an alarm"),
        ("treehook_database_up", "1 while the database answers"),
        ("treehook_dead_letters", "Dead letters that wait for a decision"),
        ("treehook_ledger_events", "What became of the events that each source was promised"),
        ("treehook_build_info", "The version that runs"),
    ] {
        describe_gauge!(name, text);
    }
    for (name, unit, text) in [
        ("treehook_delivery_duration_seconds", Unit::Seconds, "From request to answer"),
        ("treehook_event_lag_seconds", Unit::Seconds, "From event time to counted"),
        ("treehook_publish_confirm_seconds", Unit::Seconds, "From publish to the broker's confirm"),
        ("treehook_apply_duration_seconds", Unit::Seconds, "One batch in the store"),
        ("treehook_apply_batch_events", Unit::Count, "Events in one batch"),
    ] {
        describe_histogram!(name, unit, text);
    }
}
