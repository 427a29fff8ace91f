//! A corner of the shared RabbitMQ: queues and exchanges under a prefix of their own.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::{Connection, ConnectionProperties};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use treehook_event::{Compression, Failure, Timestamp};
use treehook_rabbitmq::{Broker, BrokerConfig, BrokerState, Timeouts, Topology};

use super::{server_url, unique};

/// A connected broker of one test.
pub(crate) struct TestBroker {
    pub(crate) broker: Broker,
    prefix: String,
    stop: CancellationToken,
    supervisor: JoinHandle<Result<(), Failure>>,
}

impl TestBroker {
    pub(crate) async fn start(compression: Compression) -> Self {
        let prefix = format!("{}.", unique("t"));
        let stop = CancellationToken::new();
        let config = BrokerConfig {
            url: server_url("TREEHOOK_TEST_AMQP_URL"),
            topology: Topology::prefixed(&prefix),
            name: "treehook test".to_owned(),
            compression,
            timeouts: Timeouts::default(),
            now: || Timestamp::from_seconds(1_795_000_000),
        };
        let (broker, task) = Broker::start(config, stop.clone()).unwrap();
        let supervisor = tokio::spawn(task.run());
        let mut state = broker.state();
        tokio::time::timeout(super::DEADLINE, state.wait_for(|state| *state == BrokerState::Up))
            .await
            .expect("RabbitMQ answers in time")
            .unwrap();
        Self { broker, prefix, stop, supervisor }
    }

    /// Nothing may be left over, and nothing is.
    pub(crate) async fn end(self) {
        let depths = self.broker.queue_depth().await.unwrap();
        assert_eq!((depths.aggregate, depths.dead), (0, 0), "left in the queues");
        self.stop.cancel();
        self.supervisor.await.unwrap().unwrap();
        delete_topology(&server_url("TREEHOOK_TEST_AMQP_URL"), &self.prefix).await;
    }
}

/// Loses what waits for workers, as no broker should; says how many messages.
pub(crate) async fn lose_messages(url: &str, prefix: &str) -> u32 {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{prefix}aggregate");
    let lost = channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
    lost
}

/// Removes what a test declared.
pub(crate) async fn delete_topology(url: &str, prefix: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for queue in ["aggregate", "dead"] {
        let name = format!("{prefix}{queue}");
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }
    for exchange in ["events", "dead", "applied"] {
        let name = format!("{prefix}{exchange}");
        channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}
