//! One live connection: a small pool of channels, and one way to say that it is broken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use treehook_event::Failure;

use crate::broker::Settings;
use crate::classify::classify;
use crate::socket::{Lifeline, open};

/// Publishes under way at once on one connection; more wait their turn. The receiver gathers what
/// arrives meanwhile, so more than a few only makes the messages smaller.
const PUBLISHES_MAX: usize = 16;

/// A connection that lived this long was a good one: the next trouble is a new one.
const GOOD_AGE: Duration = Duration::from_secs(10);

/// A live connection, with the topology declared.
pub(crate) struct Link {
    // First: the socket is cut before the library starts to say goodbye through it.
    _lifeline: Lifeline,
    connection: Connection,
    born: Instant,
    worked: AtomicBool,
    broken: CancellationToken,
    idle: Mutex<Vec<Channel>>,
    turns: Semaphore,
}

impl Link {
    /// Connects, and declares the topology: from then on the broker is as we need it.
    pub(crate) async fn connect(settings: &Settings, role: &str) -> Result<Self, Failure> {
        let name = format!("{} ({role})", settings.name);
        let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
        let limit = settings.timeouts.connect;
        let (connection, lifeline) = open(settings.uri.clone(), properties, limit).await?;
        let link = Self {
            _lifeline: lifeline,
            connection,
            born: Instant::now(),
            worked: AtomicBool::new(false),
            broken: CancellationToken::new(),
            idle: Mutex::new(Vec::new()),
            turns: Semaphore::new(PUBLISHES_MAX),
        };
        let declaring = async {
            let channel = link.channel().await?;
            settings.topology.declare(&channel).await
        };
        let declared = timeout(limit, declaring).await.unwrap_or_else(|_| {
            let detail = format!("the topology was not declared within {limit:?}");
            Err(Failure::transient("broker_down", detail))
        });
        declared.map(|()| link)
    }

    /// A new channel. The caller bounds the wait.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        self.connection.create_channel().await.map_err(|error| classify(&error))
    }

    /// A channel for one publish at a time: what comes back on it, confirms and returns, belongs to
    /// that publish alone and cannot be paired with another's.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<Lease<'_>, Failure> {
        let Ok(Ok(turn)) = timeout_at(deadline, self.turns.acquire()).await else {
            // The broker confirms, only too slowly for all that is asked of it. No reason to take
            // the connection from those whose turn it is.
            let detail = format!("{PUBLISHES_MAX} publishes are under way already");
            return Err(Failure::transient("confirm_timeout", detail));
        };
        let idle = self.idle().pop().filter(|channel| channel.status().connected());
        let channel = match idle {
            Some(channel) => channel,
            None => match timeout_at(deadline, self.confirming_channel()).await {
                Ok(channel) => channel.map_err(|failure| self.broken_by(failure))?,
                Err(_) => return Err(self.broken_by(late())),
            },
        };
        Ok(Lease { link: self, channel, _turn: turn })
    }

    async fn confirming_channel(&self) -> Result<Channel, Failure> {
        let channel = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| classify(&error))?;
        Ok(channel)
    }

    /// Something worked over it.
    pub(crate) fn mark_worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// Whether it was of use, so that the next trouble starts with a short pause.
    pub(crate) fn was_good(&self) -> bool {
        self.worked.load(Ordering::Relaxed) || self.born.elapsed() >= GOOD_AGE
    }

    /// Gives the connection up: whoever supervises it builds another.
    pub(crate) fn broken_by(&self, failure: Failure) -> Failure {
        self.broken.cancel();
        failure
    }

    /// Returns once somebody gave the connection up.
    pub(crate) async fn given_up(&self) {
        self.broken.cancelled().await;
    }

    /// What the broker and the library say about the connection.
    pub(crate) fn events(&self) -> impl Stream<Item = Event> + Send + 'static {
        self.connection.events_listener()
    }

    /// Whether it is usable.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker refuses to be published to.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Says goodbye, for at most `limit`; what was said before has then arrived. Dropping the link
    /// cuts the socket in any case.
    pub(crate) async fn say_goodbye(&self, limit: Duration) {
        match timeout(limit, self.connection.close(200, "OK".into())).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => debug!("the broker was gone before we said goodbye: {error}"),
            Err(_) => debug!("the broker did not answer our goodbye within {limit:?}"),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of a confirm that did not come in time.
pub(crate) fn late() -> Failure {
    Failure::transient("confirm_timeout", "the broker did not confirm in time")
}

/// A channel in the hands of one publish. Dropped, it is closed: what is still to come back on it
/// must not reach the next publish.
pub(crate) struct Lease<'a> {
    link: &'a Link,
    channel: Channel,
    _turn: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// The channel.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Hands the channel to the next publish: everything that was sent on it is confirmed.
    pub(crate) fn give_back(self) {
        self.link.idle().push(self.channel);
    }
}
