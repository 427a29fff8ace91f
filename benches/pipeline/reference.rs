//! What is measured beside ours: servers that do less, each in a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};
use treehook_event::{Claim, Found, verify};

use crate::deliveries::Deliveries;
use crate::harness::now;

/// A reference that runs.
pub(crate) struct Reference {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Reference {
    /// Starts one: `bare`, `parsed`, `logged`, `batched` or `confirmed`.
    pub(crate) async fn start(kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["reference", kind])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().unwrap().parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What the child does until it is killed.
pub(crate) async fn serve(kind: &str) {
    let router = match kind {
        "bare" => Router::new().route("/webhooks/linktree", post(bare)),
        "parsed" => {
            let deliveries = Arc::new(Deliveries::new());
            Router::new().route("/webhooks/linktree", post(parsed)).with_state(deliveries)
        }
        "logged" => grouped(log()),
        "batched" => grouped(publish_batches(confirming().await)),
        "confirmed" => Router::new()
            .route("/webhooks/linktree", post(confirmed))
            .with_state(Arc::new(confirming().await)),
        other => panic!("no reference is called {other}"),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// Reads the body and answers.
async fn bare(_body: Bytes) -> StatusCode {
    StatusCode::ACCEPTED
}

/// Only what serde needs to see to believe that it is an event.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    timestamp: &'a str,
    #[serde(borrow)]
    data: Click<'a>,
}

#[derive(Deserialize)]
struct Click<'a> {
    profile_id: &'a str,
    link_id: Option<&'a str>,
    visitor_id: Option<&'a str>,
    ip: Option<&'a str>,
    user_agent: Option<&'a str>,
    country: Option<&'a str>,
    referrer: Option<&'a str>,
    device: Option<&'a str>,
}

impl Click<'_> {
    fn length(&self) -> usize {
        let given = [self.link_id, self.visitor_id, self.ip, self.user_agent, self.country];
        let more = [self.referrer, self.device, Some(self.profile_id)];
        given.into_iter().chain(more).flatten().map(str::len).sum()
    }
}

fn is_signed(deliveries: &Deliveries, headers: &HeaderMap, body: &[u8]) -> bool {
    let find =
        |name: &str| headers.get(name).map_or(Found::Absent, |value| Found::Once(value.as_bytes()));
    let source = &deliveries.source;
    Claim::read(&source.scheme, find).is_ok_and(|claim| verify(source, &claim, body, now()).is_ok())
}

/// Verifies and parses, and keeps nothing.
async fn parsed(
    State(deliveries): State<Arc<Deliveries>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if !is_signed(&deliveries, &headers, &body) {
        return StatusCode::FORBIDDEN;
    }
    match serde_json::from_slice::<Envelope<'_>>(&body) {
        Ok(Envelope { id, event_type, timestamp, data }) => {
            std::hint::black_box(id.len() + event_type.len() + timestamp.len() + data.length());
            StatusCode::ACCEPTED
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// A body that is not durable yet, and who waits for it.
type Waiting = (Bytes, oneshot::Sender<()>);

/// Verifies, and answers once somebody has made durable what came meanwhile. What any receiver of this design
/// can do here, without deriving anything, encoding anything or a database.
fn grouped(requests: mpsc::Sender<Waiting>) -> Router {
    let state = Arc::new((Deliveries::new(), requests));
    Router::new().route("/webhooks/linktree", post(kept)).with_state(state)
}

async fn kept(
    State(state): State<Arc<(Deliveries, mpsc::Sender<Waiting>)>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let (deliveries, requests) = &*state;
    if !is_signed(deliveries, &headers, &body) {
        return StatusCode::FORBIDDEN;
    }
    let (answer, answered) = oneshot::channel();
    requests.send((body, answer)).await.unwrap();
    answered.await.unwrap();
    StatusCode::ACCEPTED
}

/// Appends to a file, and syncs it, from a thread of its own.
fn log() -> mpsc::Sender<Waiting> {
    let (sender, mut requests) = mpsc::channel(4096);
    let mut file = tempfile::tempfile().unwrap();
    std::thread::spawn(move || {
        let (mut waiting, mut bytes) = (Vec::<Waiting>::new(), Vec::new());
        while requests.blocking_recv_many(&mut waiting, 1000) > 0 {
            bytes.clear();
            for (body, _) in &waiting {
                bytes.extend_from_slice(body);
            }
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            for (_, answer) in waiting.drain(..) {
                answer.send(()).unwrap_or_default();
            }
        }
    });
    sender
}

/// Publishes as one message what has come, three at a time.
fn publish_batches(channel: Channel) -> mpsc::Sender<Waiting> {
    let (sender, mut requests) = mpsc::channel(4096);
    tokio::spawn(async move {
        let (channel, turns) = (Arc::new(channel), Arc::new(Semaphore::new(3)));
        loop {
            let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
            let mut waiting: Vec<Waiting> = Vec::new();
            if requests.recv_many(&mut waiting, 1000).await == 0 {
                break;
            }
            let channel = Arc::clone(&channel);
            tokio::spawn(async move {
                let bodies: Vec<&[u8]> = waiting.iter().map(|(body, _)| &**body).collect();
                assert!(publish(&channel, &bodies.concat()).await);
                for (_, answer) in waiting {
                    answer.send(()).unwrap_or_default();
                }
                drop(turn);
            });
        }
    });
    sender
}

/// The queue of the reference.
pub(crate) const QUEUE: &str = "treehook-bench-confirmed";

/// Publishes the body as a message of its own, and waits for its confirm.
async fn confirmed(State(channel): State<Arc<Channel>>, body: Bytes) -> StatusCode {
    if publish(&channel, &body).await { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY }
}

/// One confirmed publish to a quorum queue.
pub(crate) async fn publish(channel: &Channel, body: &[u8]) -> bool {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), QUEUE.into(), options, body, properties).await;
    sent.unwrap().await.unwrap().is_ack()
}

/// A channel that confirms, and the queue behind it.
pub(crate) async fn confirming() -> Channel {
    let channel = connect().await.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(QUEUE.into(), options, arguments).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Removes the queue with what is in it.
pub(crate) async fn clear() {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

/// A connection of its own.
pub(crate) async fn connect() -> Connection {
    let url = std::env::var("TREEHOOK_TEST_AMQP_URL").expect("`make bench` starts a RabbitMQ");
    Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
}
