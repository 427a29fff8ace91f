//! What every story needs: a broker of its own names, events, waiting for a condition, cleaning up.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use treehook_event::{
    Body, Compression, Consumer as _, Delivery, Event, EventType, Failure, Identity, LinkId,
    ProfileId, SourceName, Timestamp, Visit, VisitKind,
};
use treehook_rabbitmq::{
    Broker, BrokerConfig, BrokerState, EventConsumer, Receipt, Timeouts, Topology,
};

/// Long enough for a busy machine; no story that works waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where the test broker is.
pub(crate) fn url() -> String {
    std::env::var("TREEHOOK_TEST_AMQP_URL")
        .expect("set TREEHOOK_TEST_AMQP_URL to a RabbitMQ that tests may use")
}

/// One story's names and its way in by the back door.
pub(crate) struct Harness {
    pub(crate) topology: Topology,
    pub(crate) admin: Channel,
    connection: Connection,
}

/// Tells a story with names of its own, and takes them off the broker whatever its end.
pub(crate) async fn story(tell: impl AsyncFnOnce(&Harness)) {
    let harness = Harness::new().await;
    let end = AssertUnwindSafe(tell(&harness)).catch_unwind().await;
    harness.clean_up().await;
    if let Err(panic) = end {
        std::panic::resume_unwind(panic);
    }
}

impl Harness {
    async fn new() -> Self {
        let connection = Connection::connect(&url(), ConnectionProperties::default())
            .await
            .expect("TREEHOOK_TEST_AMQP_URL leads to a RabbitMQ");
        let admin = connection.create_channel().await.unwrap();
        let topology = Topology::prefixed(&format!("t{:016x}.", rand::random::<u64>()));
        Self { topology, admin, connection }
    }

    /// A channel of its own: an error on it spoils nothing else.
    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    async fn clean_up(&self) {
        let channel = self.channel().await;
        for queue in [&self.topology.aggregate_queue, &self.topology.dead_queue] {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.as_str().into(), options).await.unwrap();
        }
        for exchange in [
            &self.topology.events_exchange,
            &self.topology.dead_exchange,
            &self.topology.applied_exchange,
        ] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange.as_str().into(), options).await.unwrap();
        }
    }

    pub(crate) fn config(&self, url: String) -> BrokerConfig {
        BrokerConfig {
            url,
            topology: self.topology.clone(),
            name: "treehook tests".to_owned(),
            compression: Compression::None,
            timeouts: Timeouts::default(),
            now,
        }
    }

    /// A broker that is up.
    pub(crate) async fn broker(&self) -> Running {
        let running = self.broker_at(url());
        running.becomes(BrokerState::Up).await;
        running
    }

    /// A broker whose supervisor runs, whatever that leads to.
    pub(crate) fn broker_at(&self, url: String) -> Running {
        let stop = CancellationToken::new();
        let (broker, task) = Broker::start(self.config(url), stop.clone()).unwrap();
        Running { broker, stop, task: tokio::spawn(task.run()) }
    }
}

/// A broker and its supervisor.
pub(crate) struct Running {
    pub(crate) broker: Broker,
    stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), Failure>>,
}

impl Running {
    pub(crate) async fn becomes(&self, state: BrokerState) {
        let mut states = self.broker.state();
        timeout(PATIENCE, states.wait_for(|now| *now == state))
            .await
            .unwrap_or_else(|_| panic!("never {state:?}: {:?}", self.broker.trouble()))
            .unwrap();
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_767_225_600)
}

/// A click with this identity.
pub(crate) fn click(id: &str) -> Event {
    Event {
        source: SourceName::trusted("linktree"),
        identity: Identity::trusted(id),
        occurred_at: now(),
        received_at: now(),
        entry: None,
        body: Body::Visit(Visit {
            kind: VisitKind::Click { link_id: LinkId::trusted("link_1") },
            profile_id: ProfileId::trusted("profile_1"),
            visitor: None,
            country: "DE".into(),
            referrer: "direct".into(),
            device: treehook_event::Device::Mobile,
            link: None,
        }),
        payload: "{}".into(),
    }
}

/// An event of a type that nobody knows.
pub(crate) fn unknown(id: &str, event_type: &str) -> Event {
    let body = Body::Unknown { event_type: EventType::given(event_type) };
    Event { body, ..click(id) }
}

pub(crate) fn clicks(prefix: &str, count: usize) -> Vec<Event> {
    (0..count).map(|number| click(&format!("{prefix}{number}"))).collect()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Receives until this many events are in hand, through outages.
pub(crate) async fn receive(consumer: &mut EventConsumer, events: usize) -> Vec<Delivery<Receipt>> {
    let deadline = Instant::now() + PATIENCE;
    let mut deliveries: Vec<Delivery<Receipt>> = Vec::new();
    while deliveries.iter().map(|delivery| delivery.events.len()).sum::<usize>() < events {
        assert!(Instant::now() < deadline, "{} deliveries came", deliveries.len());
        match consumer.receive(1000, Duration::from_millis(200)).await {
            Ok(more) => deliveries.extend(more),
            Err(Failure::Transient(_)) => (),
            Err(failure) => panic!("{failure}"),
        }
    }
    deliveries
}

pub(crate) fn ids(deliveries: &[Delivery<Receipt>]) -> Vec<&str> {
    let mut ids: Vec<&str> = deliveries
        .iter()
        .flat_map(|delivery| &delivery.events)
        .map(|event| event.identity.as_str())
        .collect();
    ids.sort_unstable();
    ids
}

pub(crate) fn receipts(deliveries: Vec<Delivery<Receipt>>) -> Vec<Receipt> {
    deliveries.into_iter().map(|delivery| delivery.receipt).collect()
}

/// Asserts that nothing arrives for a while: long enough for what is on its way.
pub(crate) async fn nothing_arrives(consumer: &mut EventConsumer) {
    let more = consumer.receive(1000, Duration::from_millis(300)).await.unwrap();
    assert!(more.is_empty(), "{:?}", ids(&more));
}

pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> &'static str {
    outcome.expect_err("it was to fail").cause().reason
}
