//! This process: its tasks, its signals, and the order in which it ends.

use std::future::Future;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use treehook_event::Failure;

/// How long requests in flight may take to finish once no new ones are accepted. A publish bounds
/// its own waits well below.
pub(crate) const INTAKE_GRACE: Duration = Duration::from_secs(12);
/// How long everything else may take after that.
const REST_GRACE: Duration = Duration::from_secs(13);
/// How long connections may take to close. Together below the 30 s of INTERFACE.md.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Files that are asked for: what the connections of a large deployment take, and a number that
/// nobody minds.
const FILES_WANTED: u64 = 65_536;
/// Files that are not for those who come in: databases, logs, connections to the servers behind.
const FILES_RESERVED: u64 = 256;

/// Asks the system for as many open files as it allows, since it gives 1,024 to begin with, and says
/// how many connections fit into what there is. Without, a crowd at the door would keep us from
/// reaching the broker.
pub(crate) fn connections_max() -> usize {
    let given = getrlimit(Resource::Nofile);
    let wanted = given.maximum.map_or(FILES_WANTED, |most| most.min(FILES_WANTED));
    let mut files = given.current.unwrap_or(u64::MAX);
    if files < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..given }) {
            Ok(()) => files = wanted,
            Err(error) => warn!("no more than {files} open files are allowed: {error}"),
        }
    }
    let connections = files.saturating_sub(FILES_RESERVED).max(FILES_RESERVED);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// What runs here. Intake ends first, so that what it accepted still finds everything in place.
pub(crate) struct Process {
    /// Cancelled when nothing new is to be accepted.
    pub(crate) intake: CancellationToken,
    /// Cancelled when everything is to end.
    pub(crate) stop: CancellationToken,
    /// Cancelled when everything else has ended: for connections that the others still use.
    pub(crate) last: CancellationToken,
    intake_tasks: JoinSet<Result<(), Failure>>,
    tasks: JoinSet<Result<(), Failure>>,
    last_tasks: JoinSet<Result<(), Failure>>,
    signals: Signals,
}

impl Process {
    /// Nothing runs yet.
    pub(crate) fn new() -> Self {
        Self {
            intake: CancellationToken::new(),
            stop: CancellationToken::new(),
            last: CancellationToken::new(),
            intake_tasks: JoinSet::new(),
            tasks: JoinSet::new(),
            last_tasks: JoinSet::new(),
            signals: Signals::listen(),
        }
    }

    /// A task that ends when `intake` is cancelled.
    pub(crate) fn spawn_intake(
        &mut self,
        task: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        self.intake_tasks.spawn(task);
    }

    /// A task that ends when `stop` is cancelled.
    pub(crate) fn spawn(
        &mut self,
        task: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        self.tasks.spawn(task);
    }

    /// A task that ends when `last` is cancelled.
    pub(crate) fn spawn_last(
        &mut self,
        task: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        self.last_tasks.spawn(task);
    }

    /// Runs until a signal, until `until` resolves, or until a task gives up; then drains.
    pub(crate) async fn run(mut self, until: impl Future<Output = ()>) -> Result<(), Failure> {
        let mut signals = std::mem::replace(&mut self.signals, Signals::listen());
        let outcome = tokio::select! {
            () = signals.next() => {
                info!("stopping: draining what is in flight");
                Ok(())
            }
            () = until => Ok(()),
            ended = next_failure(&mut self.intake_tasks) => ended,
            ended = next_failure(&mut self.tasks) => ended,
            ended = next_failure(&mut self.last_tasks) => ended,
        };
        if let Err(failure) = &outcome {
            error!(reason = failure.cause().reason, "stopping: {}", failure.cause().detail);
        }
        let drained = tokio::select! {
            drained = self.drain() => drained,
            () = signals.next() => {
                warn!("second signal: leaving at once");
                std::process::exit(1);
            }
        };
        outcome.and(drained)
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        self.intake.cancel();
        let first = end(&mut self.intake_tasks, INTAKE_GRACE + Duration::from_secs(1)).await;
        self.stop.cancel();
        let second = end(&mut self.tasks, REST_GRACE).await;
        self.last.cancel();
        let third = end(&mut self.last_tasks, LAST_GRACE).await;
        first.and(second).and(third)
    }
}

/// Ctrl-C and SIGTERM, listened for before anybody can be told that the process is there.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).expect("these signals can be listened for anywhere");
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    /// The next of either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// The first task that fails; never, as long as none does.
async fn next_failure(tasks: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    loop {
        match tasks.join_next().await {
            Some(ended) => flat(ended)?,
            None => std::future::pending().await,
        }
    }
}

async fn end(tasks: &mut JoinSet<Result<(), Failure>>, grace: Duration) -> Result<(), Failure> {
    let all = async {
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            outcome = outcome.and(flat(ended));
        }
        outcome
    };
    if let Ok(outcome) = tokio::time::timeout(grace, all).await {
        return outcome;
    }
    // What was not settled comes again; what was not answered is retried by its sender.
    warn!("{} tasks did not end in time and are dropped", tasks.len());
    tasks.shutdown().await;
    Ok(())
}

fn flat(ended: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::fatal("panic", format!("a task died: {error}"))),
    }
}
