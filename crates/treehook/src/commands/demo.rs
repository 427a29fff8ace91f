//! `demo`: a whole treehook in a temporary directory, fed with a believable month of signed traffic.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use treehook_event::{EventStore as _, Scheme};
use treehook_simulator::{Expected, Load, LoadReport, Progress, Target, Traffic, TrafficPlan};

use super::print;
use super::report::Reader;
use super::simulate::{Bar, quick_retries, signer, usage};
use crate::Trouble;
use crate::cli::{Demo, Format, Report, Shared};
use crate::clock;
use crate::config::Flags;
use crate::roles::{Addresses, Roles};
use crate::store::Store;
use crate::telemetry;

/// Connections of the demo's sender.
const CONNECTIONS: usize = 4;
/// How long counting may take after the last answer.
const COUNTING: Duration = Duration::from_mins(1);

pub(super) async fn demo(args: Demo) -> Result<(), Trouble> {
    // Removed when it is dropped, however this ends.
    let dir = tempfile::Builder::new().prefix("treehook-demo-").tempdir()?;
    let secret = uuid::Uuid::new_v4().simple().to_string();
    let config = config(dir.path(), &secret)?;
    let store = Store::open(None, dir.path()).await?;
    let metrics = telemetry::start_metrics()?;
    let (running, addresses) = Roles::new(config, metrics).serve(true).await?;

    let leave = CancellationToken::new();
    let left = leave.clone();
    let mut serving = tokio::spawn(running.run(async move { left.cancelled().await }));
    let shown = tokio::select! {
        shown = show(&args, &secret, addresses, &store) => shown,
        // It listens for signals itself: Ctrl-C in the middle ends the demo.
        ended = &mut serving => return Ok(ended.map_err(anyhow::Error::from)??),
    };
    if args.exit || shown.is_err() {
        leave.cancel();
    }
    serving.await.map_err(anyhow::Error::from)??;
    drop(store);
    dir.close()?;
    shown
}

fn config(dir: &Path, secret: &str) -> Result<crate::config::Config, Trouble> {
    let text = |value: &str| value.to_owned();
    let flags = Flags::from([
        ("listen", text("127.0.0.1:0")),
        ("admin_listen", text("127.0.0.1:0")),
        ("data_dir", dir.display().to_string()),
        ("linktree_secret", text(secret)),
        ("log", text("warn")),
        // A file or variables of the user's own deployment must not change the demo.
        ("config", text("/dev/null")),
    ]);
    let config = crate::config::Config::load(&flags, &std::collections::BTreeMap::new())?;
    telemetry::start_log(&config.log, config.log_format);
    Ok(config)
}

/// Sends the month, waits until it is counted, prints what came of it.
async fn show(
    args: &Demo,
    secret: &str,
    addresses: Addresses,
    store: &Store,
) -> Result<(), Trouble> {
    let public = addresses.public.ok_or_else(|| usage("the demo has no public listener"))?;
    let plan = TrafficPlan {
        events: Some(args.events),
        duplicates: 0.1,
        late: 0.05,
        bad_signatures: 0.01,
        ..TrafficPlan::default()
    };
    let mut traffic = Traffic::new(plan, clock::now()).map_err(usage)?.with_expected();
    let address = format!("http://{public}/webhooks/linktree");
    print(&format!("treehook {} at {address}\n", env!("CARGO_PKG_VERSION")))?;
    let mut load =
        Load::new(Target::parse(&address).map_err(usage)?, signer(Scheme::linktree(), secret)?);
    load.connections = CONNECTIONS;
    load.retries = quick_retries()?;
    let (progress, watched) = watch::channel(Progress::default());
    let bar = Bar::start(Some(args.events), watched);
    let never = CancellationToken::new();
    let sent = load.run(&mut traffic, &clock::now, &never, &progress).await.map_err(usage)?;
    drop(progress);
    bar.finish().await;

    let expected = traffic.expected().cloned().unwrap_or_default();
    let counted = await_counted(store, expected.events).await?;
    print(&story(&sent, &expected, counted))?;
    let everything = Report {
        shared: Shared::default(),
        profile: None,
        period: Some("last_90_days".to_owned()),
        from: None,
        to: None,
        format: Format::Table,
        watch: false,
    };
    let reader = Reader::over(store.clone());
    let profiles = store.profiles(None, 1).await?;
    print(&reader.all(&everything).await?)?;
    if let Some(first) = profiles.first() {
        print(&format!("\n{}", reader.profile(first.profile_id.as_str(), &everything).await?))?;
    }
    verify(store).await?;
    if counted != expected.events {
        let text = format!("{} events were expected and {counted} counted", expected.events);
        return Err(Trouble::Failed(text));
    }
    print(&format!("Dashboard: http://{}/\n", addresses.admin))?;
    if !args.exit {
        print("Ctrl-C ends the demo and removes everything it made.\n")?;
    }
    Ok(())
}

async fn await_counted(store: &Store, events: u64) -> Result<u64, Trouble> {
    let deadline = tokio::time::Instant::now() + COUNTING;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    loop {
        tick.tick().await;
        let applied = store.tally().await.map_or(0, |tally| tally.applied);
        if applied >= events || tokio::time::Instant::now() > deadline {
            return Ok(applied);
        }
        debug!(applied, events, "waiting until everything is counted");
    }
}

fn story(sent: &LoadReport, expected: &Expected, counted: u64) -> String {
    let status = |code: u16| sent.by_status.get(&code).copied().unwrap_or(0);
    format!(
        "\n{} signed deliveries in {:.1} s: {} answered 202, {} forged ones 403.\n\
         {} came twice, and some came days late.\n\
         {counted} of {} events counted, each exactly once.\n\n",
        sent.sent,
        sent.elapsed_seconds,
        status(202),
        status(403),
        sent.accepted_repeats,
        expected.events,
    )
}

async fn verify(store: &Store) -> Result<(), Trouble> {
    let differences = store.verify(false).await?;
    if differences.is_empty() {
        return print("Verified: a recount of the archive equals every rollup.\n");
    }
    Err(Trouble::Failed(format!("{} rollups differ from the archive", differences.len())))
}
