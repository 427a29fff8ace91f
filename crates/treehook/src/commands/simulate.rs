//! `simulate`: signed load against any treehook.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use treehook_event::{KeyEncoding, Platform, Scheme, SigningKey};
use treehook_simulator::{
    Load, LoadReport, Progress, RetryPolicy, Signer, Target, Traffic, TrafficPlan,
};

use super::print;
use crate::Trouble;
use crate::cli::Simulate;
use crate::clock;
use crate::config::Mistakes;

/// Events per link that a load spreads over: many links, as a platform's traffic has.
const PROFILES: u32 = 20;
/// Links of each profile.
const LINKS: u32 = 10;

pub(super) async fn simulate(args: Simulate) -> Result<(), Trouble> {
    let scheme = match args.source.as_str() {
        "dub" => Scheme::dub(),
        "standard" => Scheme::standard(),
        _ => Scheme::linktree(),
    };
    let plan = TrafficPlan {
        platform: scheme.platform,
        seed: args.seed.unwrap_or_else(new_seed),
        profiles: PROFILES,
        links: LINKS,
        days: 0,
        events: args.duration.is_none().then_some(args.events),
        duplicates: args.duplicates,
        late: args.late,
        bad_signatures: args.bad_signatures,
        batch: args.batch.into(),
        ..TrafficPlan::default()
    };
    let mut load = Load::new(target(&args)?, signer(scheme, &args.secret)?);
    load.connections = args.concurrency.into();
    load.rate = args.rate;
    load.duration = args.duration;
    load.check().map_err(usage)?;
    let mut traffic = Traffic::new(plan, clock::now()).map_err(usage)?;

    let stop = CancellationToken::new();
    let (progress, watched) = watch::channel(Progress::default());
    let bar = Bar::start(args.duration.is_none().then_some(args.events), watched);
    let interrupted = stop.clone();
    let mut run =
        tokio::task::spawn_blocking(move || on_one_thread(&load, &mut traffic, &stop, &progress));
    let report = loop {
        tokio::select! {
            report = &mut run => break report.map_err(anyhow::Error::from)??,
            // What is on its way is waited for; then the counts are printed all the same.
            _ = tokio::signal::ctrl_c(), if !interrupted.is_cancelled() => interrupted.cancel(),
        }
    };
    bar.finish().await;
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)?;
        print(&format!("{json}\n"))?;
    } else {
        print(&summary(&report).map_err(anyhow::Error::from)?)?;
    }
    if report.accepted_events == 0 {
        return Err(Trouble::Failed("nothing was accepted".to_owned()));
    }
    Ok(())
}

/// Sends on a runtime of its own: whoever waits for an answer is who sees it arrive, where several
/// threads would wake each other for each.
fn on_one_thread(
    load: &Load,
    traffic: &mut Traffic,
    stop: &CancellationToken,
    progress: &watch::Sender<Progress>,
) -> Result<LoadReport, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load.run(traffic, &clock::now, stop, progress)).map_err(usage)
}

/// Another one for every run: events that were sent before would only be duplicates.
fn new_seed() -> u64 {
    clock::now().as_millis().unsigned_abs()
}

/// The path may be left out: what is simulated has only one.
fn target(args: &Simulate) -> Result<Target, Trouble> {
    let address = args.url.trim_end_matches('/');
    let address = if address.contains("/webhooks/") {
        address.to_owned()
    } else {
        format!("{address}/webhooks/{}", args.source)
    };
    Target::parse(&address).map_err(|problem| usage(format!("--url: {problem}")))
}

pub(super) fn signer(scheme: Scheme, secret: &str) -> Result<Signer, Trouble> {
    // Several may be active at the receiver: the newest signs.
    let newest = secret.split(',').next().unwrap_or_default().trim();
    let encoding = match scheme.platform {
        Platform::Standard => KeyEncoding::Whsec,
        Platform::Linktree | Platform::Dub => KeyEncoding::Utf8,
    };
    let key = SigningKey::decode(newest, encoding)
        .map_err(|problem| usage(format!("--secret: {problem}")))?;
    Signer::new(scheme, key).map_err(usage)
}

pub(super) fn usage(problem: impl std::fmt::Display) -> Trouble {
    Trouble::Usage(Mistakes::one(problem.to_string()))
}

fn summary(report: &LoadReport) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "requests   {} in {:.1} s, {:.0}/s",
        report.sent, report.elapsed_seconds, report.rate
    )?;
    for (status, count) in &report.by_status {
        writeln!(text, "  {status}      {count}")?;
    }
    for (kind, count) in &report.errors {
        writeln!(text, "  {kind:<8} {count}")?;
    }
    writeln!(text, "events     {} accepted", report.accepted_events)?;
    if report.unanswered > 0 {
        writeln!(
            text,
            "unanswered {} deliveries were never answered with a 2xx",
            report.unanswered
        )?;
    }
    let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1000.0;
    let latency = report.latency_micros;
    writeln!(
        text,
        "latency    p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        ms(latency.p50),
        ms(latency.p95),
        ms(latency.p99),
        ms(latency.max)
    )?;
    Ok(text)
}

/// Retries as a platform does, a hundred times faster.
pub(super) fn quick_retries() -> Result<RetryPolicy, Trouble> {
    RetryPolicy::platform(0.01).map_err(usage)
}

/// Whole events per second: a line has 80 columns.
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // Nobody reads a bar that cannot be written.
    write!(out, "{:.0}/s", state.per_sec()).unwrap_or_default();
}

/// A progress bar on stderr, drawn only on a terminal.
pub(super) struct Bar(tokio::task::JoinHandle<()>);

impl Bar {
    /// Follows the progress until its sender is gone.
    pub(super) fn start(events: Option<u64>, mut watched: watch::Receiver<Progress>) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(events, target);
        let template = match events {
            Some(_) => "sending [{bar:24}] {pos}/{len} events, {rate}, {eta} left",
            None => "sending {spinner} {pos} events, {rate}",
        };
        bar.set_style(
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key("rate", rate)
                .progress_chars("=> "),
        );
        Self(tokio::spawn(async move {
            while watched.changed().await.is_ok() {
                bar.set_position(watched.borrow_and_update().accepted_events);
            }
            bar.finish_and_clear();
        }))
    }

    /// Clears the line.
    pub(super) async fn finish(self) {
        if let Err(error) = self.0.await {
            tracing::warn!("the progress bar failed: {error}");
        }
    }
}
