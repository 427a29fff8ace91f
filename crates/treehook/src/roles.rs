//! The roles: which parts stand together in `serve`, `receive`, `work` and `console`.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use treehook_event::{Cause, Context, Failure, Publisher};
use treehook_pipeline::{Gather, GatherLimits, Ledger, Spool};
use treehook_rabbitmq::{Broker, BrokerConfig, BrokerState, Timeouts, Topology};
use treehook_receiver::{Door, DoorLimits, ServeLimits};
use treehook_sqlite::{Queue, QueueLimits};

mod drains;
mod turns;

use crate::admin::{self, AdminParts};
use crate::books;
use crate::clock;
use crate::config::Config;
use crate::datadir;
use crate::journal::{self, JournalFile, Kept};
use crate::process::{INTAKE_GRACE, Process, connections_max};
use crate::store::Store;
use crate::threads::Threads;
use crate::vitals::{Counted, Outbox, Vitals, Watched};

/// How long answered requests of the admin listener may take to finish.
const ADMIN_GRACE: Duration = Duration::from_secs(5);

/// A process that is being put together.
pub(crate) struct Roles {
    config: Config,
    metrics: PrometheusHandle,
    process: Process,
    vitals: Vitals,
    held: Vec<datadir::Held>,
    /// Where its parts run that do not run beside all others.
    threads: Vec<Threads>,
}

/// Where the listeners of a running process are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// The public one, where there is one.
    pub(crate) public: Option<SocketAddr>,
    /// The admin one.
    pub(crate) admin: SocketAddr,
}

impl Roles {
    /// Nothing stands yet.
    pub(crate) fn new(config: Config, metrics: PrometheusHandle) -> Self {
        let (process, vitals) = (Process::new(), Vitals::none());
        Self { config, metrics, process, vitals, held: Vec::new(), threads: Vec::new() }
    }

    /// Every role in one process.
    pub(crate) async fn serve(mut self, migrate: bool) -> Result<(Running, Addresses), Failure> {
        let (queue, outbox) = self.open_queue(self.config.amqp_url.is_none()).await?;
        let background = Threads::that_give_way()?;
        let (url, dir) = (self.config.database_url.clone(), self.config.data_dir.clone());
        let store = background.run(async move {
            let store = Store::open(url.as_ref(), &dir).await?;
            if url.is_none() && migrate {
                // A local file has no outage to wait for, and the first look at it comes at once.
                store.migrate().await?;
            }
            Ok(store)
        });
        let store = store.await?;
        self.vitals.database_up = Some(Arc::new(AtomicBool::new(true)));
        let (front, accepted) = (Threads::of_the_front()?, Arc::default());
        let (broker, public) = {
            let _entered = front.handle().enter();
            let (broker, accepted) = (self.start_broker("serve")?, Arc::clone(&accepted));
            let public = match &broker {
                None => self.start_front(outbox.clone(), outbox, false, accepted)?,
                Some(broker) => {
                    let spool = Spool::new(broker.publisher(), outbox);
                    self.start_front(spool, broker.publisher(), false, accepted)?
                }
            };
            (broker, public)
        };
        self.threads.push(front);
        match (broker, &store) {
            (None, _) => {
                let patient = Threads::that_wait()?;
                let threads = (&patient, &background);
                self.start_embedded_worker(threads, queue, store.clone(), migrate, accepted);
                self.threads.push(patient);
            }
            (Some(broker), Store::Postgres(server)) => {
                self.start_relay(&queue, &broker, accepted);
                self.start_worker(&broker, server, migrate);
            }
            (Some(_), Store::Sqlite(_)) => return Err(needs("TREEHOOK_DATABASE_URL")),
        }
        let admin = self.start_admin(Some(store))?;
        self.threads.push(background);
        Ok((self.into_running(), Addresses { public: Some(public), admin }))
    }

    /// The receiver and its relay.
    pub(crate) async fn receive(mut self) -> Result<(Running, Addresses), Failure> {
        let (queue, outbox) = self.open_queue(false).await?;
        let (front, accepted) = (Threads::of_the_front()?, Arc::default());
        let (broker, public) = {
            let _entered = front.handle().enter();
            let broker = self.start_broker("receive")?.ok_or_else(|| needs("TREEHOOK_AMQP_URL"))?;
            let spool = Spool::new(broker.publisher(), outbox);
            let public =
                self.start_front(spool, broker.publisher(), true, Arc::clone(&accepted))?;
            (broker, public)
        };
        self.threads.push(front);
        self.start_relay(&queue, &broker, accepted);
        let store = match &self.config.database_url {
            Some(url) => Some(Store::open(Some(url), &self.config.data_dir).await?),
            None => None,
        };
        let admin = self.start_admin(store)?;
        Ok((self.into_running(), Addresses { public: Some(public), admin }))
    }

    /// A worker, and the relays of outboxes that lost receivers left behind.
    pub(crate) async fn work(
        mut self,
        migrate: bool,
        outboxes: &[PathBuf],
    ) -> Result<(Running, Addresses), Failure> {
        let url = self.config.database_url.clone().ok_or_else(|| needs("TREEHOOK_DATABASE_URL"))?;
        let server = Store::server(&url)?;
        self.vitals.database_up = Some(Arc::new(AtomicBool::new(true)));
        let broker = self.start_broker("work")?.ok_or_else(|| needs("TREEHOOK_AMQP_URL"))?;
        for dir in outboxes {
            if !dir.join("queue.db").is_file() {
                let place = dir.display();
                return Err(Failure::fatal("outbox", format!("--outbox {place}: no outbox there")));
            }
            self.held.push(datadir::hold(dir)?);
            let queue = Queue::open(dir, self.queue_limits()).await?;
            // Nobody delivers to a worker.
            self.start_relay(&queue, &broker, Arc::default());
            let (left, stop) = (journal::left_behind(dir)?, self.process.stop.clone());
            self.process.spawn(books::state_left_behind(left, broker.publisher(), stop));
        }
        self.start_worker(&broker, &server, migrate);
        let admin = self.start_admin(Some(Store::Postgres(server)))?;
        Ok((self.into_running(), Addresses { public: None, admin }))
    }

    /// The read API, the dashboard and the metrics.
    pub(crate) async fn console(mut self) -> Result<(Running, Addresses), Failure> {
        let url = self.config.database_url.as_ref();
        let store = Store::open_existing(url, &self.config.data_dir).await?;
        self.vitals.database_up = Some(Arc::new(AtomicBool::new(true)));
        self.vitals.broker = self.start_broker("console")?;
        let admin = self.start_admin(Some(store))?;
        Ok((self.into_running(), Addresses { public: None, admin }))
    }

    fn into_running(self) -> Running {
        Running { process: self.process, _held: self.held, _threads: self.threads }
    }

    fn queue_limits(&self) -> QueueLimits {
        QueueLimits { max_bytes: self.config.outbox_max }
    }

    async fn open_queue(&mut self, is_queue: bool) -> Result<(Queue, Watched), Failure> {
        self.held.push(datadir::hold(&self.config.data_dir)?);
        let queue = Queue::open(&self.config.data_dir, self.queue_limits()).await?;
        self.warn_of_forgotten(&queue).await?;
        let dir = self.config.data_dir.clone();
        let outbox = Outbox::new(queue.clone(), dir, self.config.outbox_max, is_queue);
        let publisher = outbox.publisher();
        self.vitals.queue = Some(outbox);
        Ok((queue, publisher))
    }

    /// What waited longer than identities are remembered is not counted: workers bury it as
    /// `expired`. Said at start, since a longer retention still saves it.
    async fn warn_of_forgotten(&self, queue: &Queue) -> Result<(), Failure> {
        let Some(oldest) = queue.depth().await?.oldest else { return Ok(()) };
        if clock::now().millis_since(oldest) >= self.config.retention_ms() {
            warn!(
                "the outbox holds events older than TREEHOOK_RETENTION: they will become dead \
                 letters as `expired`, unless the workers' retention is longer"
            );
        }
        Ok(())
    }

    fn start_broker(&mut self, role: &str) -> Result<Option<Broker>, Failure> {
        let Some((broker, supervisor)) =
            start_broker(&self.config, role, self.process.last.clone())?
        else {
            return Ok(None);
        };
        let resilience = self.resilience();
        let mut state = broker.state();
        self.process.spawn_last(async move {
            let mut supervisor = supervisor;
            let was_up = tokio::select! {
                up = state.wait_for(|state| *state == BrokerState::Up) => up.is_ok(),
                ended = &mut supervisor => return ended,
            };
            match supervisor.await {
                Err(failure) if was_up && resilience.has_front => {
                    let Cause { reason, detail } = failure.cause();
                    error!(reason, "no broker until a restart, deliveries are spooled: {detail}");
                    Ok(())
                }
                ended => ended,
            }
        });
        self.vitals.broker = Some(broker.clone());
        Ok(Some(broker))
    }

    /// The door, publishing through `publisher` and counting in `accepted`. What it promises is stated through `desk`; at the
    /// end too, unless the next start in this directory can just as well.
    fn start_front<P: Publisher + 'static, D: Publisher + 'static>(
        &mut self,
        publisher: P,
        desk: D,
        states_end: bool,
        accepted: Arc<AtomicU64>,
    ) -> Result<SocketAddr, Failure> {
        self.vitals.accepted = Some(Arc::clone(&accepted));
        if self.config.visitor_key.is_none() && self.config.amqp_url.is_some() {
            warn!(
                "TREEHOOK_VISITOR_KEY is not set: receivers that share a database need the same \
                 one, or they count one visitor as several"
            );
        }
        let visitors =
            datadir::visitor_key(&self.config.data_dir, self.config.visitor_key.as_ref())?;
        let ledger = open_ledger(&self.config.data_dir)?;
        let (gather, gathering) =
            Gather::start(publisher, Arc::clone(&ledger), GatherLimits::default());
        let vitals = self.vitals.clone();
        let sources = self.config.sources.iter();
        let door = Door {
            sources: sources
                .map(|s| (s.name.to_string(), Arc::new(s.clone())))
                .collect::<HashMap<_, _>>(),
            context: Context {
                visitors,
                personal: self.config.personal_keys.clone(),
                dedupe_window_ms: self.config.retention_ms(),
            },
            intake: Counted { inner: gather, accepted },
            now: clock::now,
            limits: DoorLimits {
                max_body: self.config.max_body,
                max_in_flight: self.config.max_in_flight,
                ..DoorLimits::default()
            },
            readiness: Arc::new(move || vitals.readiness()),
        };
        let (listener, address) = bind(self.config.listen, "TREEHOOK_LISTEN")?;
        info!(sources = door.sources.len(), "receiving on http://{address}");
        let limits = ServeLimits {
            max_connections: self.config.max_in_flight.saturating_add(1024).min(connections_max()),
            ..ServeLimits::default()
        };
        let front = treehook_receiver::Front::new(door);
        let intake = self.process.intake.clone();
        self.process.spawn_intake(async move {
            let closing = intake.cancelled_owned();
            treehook_receiver::serve(listener, front, limits, closing, INTAKE_GRACE)
                .await
                .map_err(|error| Failure::fatal("listener", error))
        });
        self.keep_books(ledger, desk, gathering, states_end);
        Ok(address)
    }

    fn keep_books<D: Publisher + 'static>(
        &mut self,
        ledger: Arc<Ledger<JournalFile>>,
        desk: D,
        gathering: JoinHandle<()>,
        states_end: bool,
    ) {
        let Some(outbox) = self.vitals.queue.clone() else { return };
        let intake = self.process.intake.clone();
        self.process.spawn_intake(async move {
            books::keep_stating(&ledger, &desk, &outbox, &intake).await;
            // Ends when the door, and with it the last `Gather`, is gone.
            gathering.await.map_err(|error| Failure::fatal("panic", error))?;
            ledger.end();
            if states_end && books::state(&ledger, &desk, &outbox).await.is_err() {
                info!("what was promised last is stated at the next start");
            }
            Ok(())
        });
    }

    fn start_admin(&mut self, store: Option<Store>) -> Result<SocketAddr, Failure> {
        let watching = self.vitals.clone().watch(store.clone(), self.process.stop.clone());
        self.process.spawn(watching);
        let upkeep = crate::telemetry::upkeep(self.metrics.clone(), self.process.stop.clone());
        self.process
            .spawn(async move { upkeep.await.map_err(|error| Failure::fatal("panic", error)) });
        let (listener, address) = bind(self.config.admin_listen, "TREEHOOK_ADMIN_LISTEN")?;
        let router = admin::router(AdminParts {
            store,
            token: self.config.api_token.clone(),
            address,
            metrics: self.metrics.clone(),
            vitals: self.vitals.clone(),
        })?;
        info!("metrics, read API and dashboard on http://{address}");
        let stop = self.process.stop.clone();
        self.process.spawn(async move {
            let closing = stop.cancelled_owned();
            let limits = ServeLimits { max_connections: 256, ..ServeLimits::default() };
            treehook_receiver::serve(listener, router, limits, closing, ADMIN_GRACE)
                .await
                .map_err(|error| Failure::fatal("listener", error))
        });
        Ok(address)
    }
}

/// A process that runs, with what it holds on to.
pub(crate) struct Running {
    process: Process,
    _held: Vec<datadir::Held>,
    _threads: Vec<Threads>,
}

impl Running {
    /// Runs until a signal or until `until` resolves, then drains.
    pub(crate) async fn run(self, until: impl Future<Output = ()>) -> Result<(), Failure> {
        self.process.run(until).await
    }
}

/// The task that keeps a broker connection.
pub(crate) type Supervisor = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A broker connection and its supervisor, where the configuration names a broker.
pub(crate) fn start_broker(
    config: &Config,
    role: &str,
    stop: CancellationToken,
) -> Result<Option<(Broker, Supervisor)>, Failure> {
    let Some(url) = &config.amqp_url else { return Ok(None) };
    let config = BrokerConfig {
        url: url.expose_secret().to_owned(),
        topology: Topology::prefixed(&config.amqp_prefix),
        name: format!("treehook {role}"),
        compression: config.amqp_compression,
        timeouts: Timeouts::default(),
        now: clock::now,
    };
    let (broker, task) = Broker::start(config, stop)?;
    Ok(Some((broker, Box::pin(task.run()))))
}

/// The ledger of the receiver that this directory belongs to.
fn open_ledger(dir: &Path) -> Result<Arc<Ledger<JournalFile>>, Failure> {
    let (journal, Kept { receiver, statements }) = JournalFile::open(dir)?;
    let epoch = u64::try_from(clock::now().as_millis()).unwrap_or_default();
    Ok(Arc::new(Ledger::start(receiver, epoch, statements, journal)))
}

fn bind(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::fatal("listener", format!("{setting}: cannot listen on {address}: {error}"))
    };
    let listener = TcpListener::bind(address).map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    Ok((listener, bound))
}

fn needs(setting: &str) -> Failure {
    Failure::fatal("configuration", format!("{setting} is not set"))
}
