//! A site to test: the front door on a free port, a publisher in memory, a clock that stands still.

use std::any::Any;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use treehook_event::{
    Accepted, Context, Event, Failure, Intake, PersonalKeys, Scheme, SigningKey, Source,
    SourceName, Timestamp, VisitorKey,
};
use treehook_receiver::{Door, DoorLimits, Front, Readiness, ServeLimits, serve};

use crate::client::{Answer, DEADLINE, Post, exchange};

pub(crate) const SECRET: &str = "current secret";
pub(crate) const OLD_SECRET: &str = "former secret";
pub(crate) const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// 2025-11-24T16:00:00Z, at every site.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_764_000_000)
}

/// A click in Linktree's envelope.
pub(crate) fn click(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"link.clicked","timestamp":"2025-11-24T15:59:58Z",
        "data":{{"profile_id":"p1","link_id":"l1","visitor_id":"v1","url":"javascript:x"}}}}"#
    )
}

/// A click in Dub's envelope.
pub(crate) fn dub_click(id: &str, created_at: &str) -> String {
    format!(
        r#"{{"id":"{id}","event":"link.clicked","createdAt":"{created_at}",
        "data":{{"click":{{"id":"c"}},"link":{{"id":"l1","workspaceId":"ws1"}}}}}}"#
    )
}

/// A delivery that Linktree would send.
pub(crate) fn linktree(body: impl Into<Vec<u8>>) -> Post {
    Post::signed("linktree", &Scheme::linktree(), SECRET, now(), body)
}

/// GitHub's shape: `sha256=` and hex over the body alone.
pub(crate) fn github() -> Scheme {
    let mut scheme = Scheme::dub();
    scheme.signature_header = "x-hub-signature-256".into();
    scheme.prefix = "sha256=".into();
    scheme.platform = treehook_event::Platform::Linktree;
    scheme
}

/// Shopify's shape: base64 over the body alone.
pub(crate) fn shopify() -> Scheme {
    let mut scheme = github();
    scheme.signature_header = "x-shopify-hmac-sha256".into();
    scheme.prefix = String::new();
    scheme.encoding = treehook_event::Encoding::Base64;
    scheme
}

/// What the publisher behind the door does.
#[derive(Clone)]
pub(crate) enum Mood {
    Queue,
    Spool,
    Fail(Failure),
    /// Takes events in, and answers once the mood has changed.
    Hold,
}

/// An intake in memory.
#[derive(Clone)]
pub(crate) struct Fake {
    published: Arc<Mutex<Vec<Event>>>,
    pub(crate) mood: Arc<watch::Sender<Mood>>,
    held: Arc<watch::Sender<usize>>,
}

impl Fake {
    fn new() -> Self {
        Self {
            published: Arc::default(),
            mood: Arc::new(watch::Sender::new(Mood::Queue)),
            held: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn published(&self) -> Vec<Event> {
        self.published.lock().expect("no panic while it is held").clone()
    }

    /// Waits until this many deliveries wait for an answer.
    pub(crate) async fn holds(&self, count: usize) {
        let mut held = self.held.subscribe();
        let reached = timeout(DEADLINE, held.wait_for(|held| *held == count)).await;
        reached.expect("held in time").expect("the sender lives");
    }
}

impl Intake for Fake {
    async fn take_in(
        &self,
        events: Vec<Event>,
        hold: Box<dyn Any + Send>,
    ) -> Result<Accepted, Failure> {
        let fake = self.clone();
        // Goes on when nobody waits any more.
        let taken = tokio::spawn(async move {
            let outcome = fake.publish(&events).await;
            drop((events, hold));
            outcome
        });
        taken.await.expect("it does not panic")
    }
}

impl Fake {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        self.held.send_modify(|held| *held += 1);
        let mut moods = self.mood.subscribe();
        let mood = moods.wait_for(|mood| !matches!(mood, Mood::Hold)).await;
        let mood = mood.expect("the sender lives").clone();
        self.held.send_modify(|held| *held -= 1);
        let place = match mood {
            Mood::Queue | Mood::Hold => Accepted::Queued,
            Mood::Spool => Accepted::Spooled,
            Mood::Fail(failure) => return Err(failure),
        };
        self.published.lock().expect("no panic while it is held").extend_from_slice(events);
        Ok(place)
    }
}

/// A running front door.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) publisher: Fake,
    pub(crate) readiness: Arc<Mutex<Readiness>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

/// What a test may set.
pub(crate) struct Settings {
    pub(crate) door: DoorLimits,
    pub(crate) serve: ServeLimits,
    pub(crate) grace: Duration,
}

impl Site {
    pub(crate) fn open() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            door: DoorLimits::default(),
            serve: ServeLimits::default(),
            grace: DEADLINE,
        };
        set(&mut settings);
        let publisher = Fake::new();
        let readiness =
            Arc::new(Mutex::new(Readiness { accepting: true, parts: vec![("broker", "up")] }));
        let asked = Arc::clone(&readiness);
        let door = Door {
            sources: sources(),
            context: Context {
                visitors: VisitorKey::new(b"a visitor key for tests").expect("long enough"),
                personal: PersonalKeys::default(),
                dedupe_window_ms: 24 * 3_600_000,
            },
            intake: publisher.clone(),
            now,
            limits: settings.door,
            readiness: Arc::new(move || asked.lock().expect("not poisoned").clone()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let until = shutdown.clone().cancelled_owned();
        let server = serve(listener, Front::new(door), settings.serve, until, settings.grace);
        Self { address, publisher, readiness, shutdown, server: tokio::spawn(server) }
    }

    pub(crate) async fn post(&self, post: &Post) -> Answer {
        exchange(self.address, &post.bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        exchange(self.address, format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await
    }

    /// Waits until the server has stopped of its own accord.
    pub(crate) async fn stopped(self) {
        let stopped = timeout(DEADLINE, self.server).await.expect("stops in time");
        stopped.expect("no panic").expect("no error");
    }
}

fn sources() -> HashMap<String, Arc<Source>> {
    [
        ("linktree", Scheme::linktree(), vec![SECRET, OLD_SECRET]),
        ("dub", Scheme::dub(), vec![SECRET]),
        ("standard", Scheme::standard(), vec![WHSEC]),
        ("github", github(), vec![SECRET]),
        ("shopify", shopify(), vec![SECRET]),
    ]
    .into_iter()
    .map(|(name, scheme, secrets)| {
        let decode = |secret: &str| SigningKey::decode(secret, scheme.key_encoding);
        let keys = secrets.into_iter().map(|s| decode(s).expect("a test's secret")).collect();
        let source = Source {
            name: SourceName::new(name).expect("a name"),
            scheme,
            keys,
            tolerance_seconds: 300,
        };
        (name.to_owned(), Arc::new(source))
    })
    .collect()
}
