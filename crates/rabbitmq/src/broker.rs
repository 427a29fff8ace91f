//! The broker as the rest of treehook sees it: what to publish on, what to consume from, how it is.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use treehook_event::{Cause, Compression, Failure, Timestamp};

use crate::classify::classify;
use crate::consumer::EventConsumer;
use crate::publisher::{Announcer, EventPublisher};
use crate::state::{Board, BrokerState};
use crate::supervisor::BrokerTask;
use crate::topology::{Topology, Which};

/// Heartbeats, in seconds: a peer that has vanished is noticed within two of them.
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to treat it. Not `Debug`: the URL holds a password.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub url: String,
    /// What the queues and exchanges are called.
    pub topology: Topology,
    /// What the broker's own pages call our connections.
    pub name: String,
    /// How events are compressed for the workers. They read both, whatever this says.
    pub compression: Compression,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// The wall clock.
    pub now: fn() -> Timestamp,
}

/// How long to wait for the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, and then for the topology.
    pub connect: Duration,
    /// For the confirms of one publish, and for any other single answer.
    pub confirm: Duration,
    /// For a goodbye.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // A sender waits meanwhile, and the outbox is next: better soon than never.
            confirm: Duration::from_secs(2),
            // Of the 30 s that a drained shutdown may take.
            close: Duration::from_secs(1),
        }
    }
}

/// How many messages wait in the queues. A message holds 1 to 1,000 events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Messages that wait to be counted.
    pub aggregate: u64,
    /// Messages that the broker gave up on.
    pub dead: u64,
}

/// Settings that are checked.
pub(crate) struct Settings {
    pub(crate) uri: AMQPUri,
    pub(crate) topology: Topology,
    pub(crate) name: String,
    pub(crate) compression: Compression,
    pub(crate) timeouts: Timeouts,
    pub(crate) now: fn() -> Timestamp,
}

/// What the supervisor, the publishers and the consumers share.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) board: Board,
}

/// A broker that may or may not be there: publishers fail at once while it is not, consumers come
/// back by themselves.
#[derive(Clone)]
pub struct Broker {
    core: Arc<Core>,
}

impl Broker {
    /// Checks the configuration and makes the supervisor, which the caller runs. `stop` ends it:
    /// last of all, when nobody publishes any more.
    pub fn start(
        config: BrokerConfig,
        stop: CancellationToken,
    ) -> Result<(Self, BrokerTask), Failure> {
        let settings = check(config)?;
        let core = Arc::new(Core { settings, board: Board::new() });
        Ok((Self { core: Arc::clone(&core) }, BrokerTask::new(core, stop)))
    }

    /// Whether it can be published to, now and as it changes.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.core.board.state()
    }

    /// Why there is no connection, with the remedy where there is one.
    pub fn trouble(&self) -> Option<Cause> {
        self.core.board.trouble()
    }

    /// Publishes events to the workers.
    pub fn publisher(&self) -> EventPublisher {
        EventPublisher::new(Arc::clone(&self.core))
    }

    /// Announces applied events to whoever has bound a queue.
    pub fn announcer(&self) -> Announcer {
        Announcer::new(Arc::clone(&self.core))
    }

    /// Consumes from a queue over a connection of its own, so that an alarm that stops publishing
    /// never stops what empties the broker. At most `prefetch` messages are in hand at once.
    pub fn consumer(&self, queue: Which, prefetch: u16) -> EventConsumer {
        EventConsumer::new(Arc::clone(&self.core), queue, prefetch)
    }

    /// How many messages wait.
    pub async fn queue_depth(&self) -> Result<Depths, Failure> {
        let link = self.core.board.link()?;
        let topology = &self.core.settings.topology;
        let asking = async {
            let channel = link.channel().await?;
            let mut depths = [0; 2];
            for (depth, which) in depths.iter_mut().zip([Which::Aggregate, Which::Dead]) {
                let options = QueueDeclareOptions { passive: true, ..Default::default() };
                let name = topology.queue(which).into();
                let queue = channel
                    .queue_declare(name, options, FieldTable::default())
                    .await
                    .map_err(|error| classify(&error))?;
                *depth = u64::from(queue.message_count());
            }
            Ok(Depths { aggregate: depths[0], dead: depths[1] })
        };
        let limit = self.core.settings.timeouts.confirm;
        timeout(limit, asking).await.unwrap_or_else(|_| {
            let detail = format!("the broker did not count its queues within {limit:?}");
            Err(Failure::transient("broker_down", detail))
        })
    }
}

fn check(config: BrokerConfig) -> Result<Settings, Failure> {
    // Neither the URL nor what is wrong with it is repeated: it holds a password.
    let mut uri: AMQPUri = config.url.parse().map_err(|_| {
        let expected = "amqp://user:password@host:port/vhost, where `%2f` is the default vhost";
        Failure::fatal("broker_url", format!("the AMQP URL cannot be read; expected {expected}"))
    })?;
    // The client library knows no address in brackets, and would take `localhost` for it.
    if let Ok(url) = config.url.parse::<url::Url>()
        && let Some(url::Host::Ipv6(address)) = url.host()
    {
        uri.authority.host = address.to_string();
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECONDS));
    config.topology.check()?;
    Ok(Settings {
        uri,
        topology: config.topology,
        name: config.name,
        compression: config.compression,
        timeouts: config.timeouts,
        now: config.now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> BrokerConfig {
        BrokerConfig {
            url: url.to_owned(),
            topology: Topology::default(),
            name: "test".to_owned(),
            compression: Compression::None,
            timeouts: Timeouts::default(),
            now: || Timestamp::from_seconds(0),
        }
    }

    #[test]
    fn the_host_is_the_one_that_the_url_names() {
        for (url, host) in [
            ("amqp://u:p@mq.example:5672/%2f", "mq.example"),
            ("amqp://u:p@192.0.2.5/%2f", "192.0.2.5"),
            ("amqps://u:p@[2001:db8::5]:5671/%2f", "2001:db8::5"),
        ] {
            assert_eq!(check(config(url)).unwrap().uri.authority.host, host, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_fatal_and_never_repeated() {
        for url in ["", "not a url", "http://guest:s3cret@host/", "amqp://u:s3cret@host:99999/"] {
            let failure = Broker::start(config(url), CancellationToken::new()).err().unwrap();
            assert!(matches!(failure, Failure::Fatal(_)), "{url}");
            assert_eq!(failure.cause().reason, "broker_url");
            assert!(!failure.to_string().contains("s3cret"));
        }
    }
}
