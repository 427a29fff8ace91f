//! A policy over a publisher: group commit. What concurrent requests bring while earlier publishes
//! are in flight goes out as one; one request at rest is not delayed.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::error;
use treehook_event::{Accepted, Event, Failure, Intake, Publisher};

use crate::ledger::{Journal, Ledger};

/// What bounds a gathered publish.
#[derive(Debug, Clone, Copy)]
pub struct GatherLimits {
    /// Events in one publish; a request that alone brings more still goes out whole.
    pub events: usize,
    /// Bytes of payload in one publish, about.
    pub bytes: usize,
    /// Publishes in flight at once, where the publisher takes as many. Three serve RabbitMQ best at 128 connections, two
    /// as well at 32 and at 512.
    pub in_flight: usize,
    /// Requests that wait; a further one waits for a place before it waits for its publish.
    pub waiting: usize,
}

impl Default for GatherLimits {
    fn default() -> Self {
        Self { events: 1000, bytes: 4 << 20, in_flight: 3, waiting: 4096 }
    }
}

/// What an event takes beside its payload, in bytes, about.
const EVENT_OVERHEAD: usize = 400;

/// One request's events, what it holds while they are here, and where its answer goes.
struct Waiting {
    events: Vec<Event>,
    hold: Box<dyn Any + Send>,
    answer: oneshot::Sender<Result<Accepted, Failure>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload.len() + EVENT_OVERHEAD).sum()
    }
}

/// The requests' end. Clones share one gathering task, which ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Gather {
    requests: mpsc::Sender<Waiting>,
}

impl Gather {
    /// Starts gathering for a publisher; the ledger numbers what goes out, and knows what came of it
    /// before anybody is answered. Await the handle after the last `Gather` is dropped: by then every
    /// request has its answer.
    pub fn start<P: Publisher + 'static, J: Journal + 'static>(
        publisher: P,
        ledger: Arc<Ledger<J>>,
        limits: GatherLimits,
    ) -> (Self, JoinHandle<()>) {
        let (requests, waiting) = mpsc::channel(limits.waiting.max(1));
        let task = tokio::spawn(gather(waiting, Outlet { publisher, ledger }, limits));
        (Self { requests }, task)
    }
}

impl Intake for Gather {
    async fn take_in(
        &self,
        events: Vec<Event>,
        hold: Box<dyn Any + Send>,
    ) -> Result<Accepted, Failure> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Failure::transient("stopping", "publishing has stopped");
        let request = Waiting { events, hold, answer };
        self.requests.send(request).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Where batches go.
struct Outlet<P, J> {
    publisher: P,
    ledger: Arc<Ledger<J>>,
}

/// Publishes within this task: handing each batch to a task of its own would wake another thread, which
/// costs a request at rest more than anything else here.
async fn gather<P: Publisher + 'static, J: Journal + 'static>(
    mut requests: mpsc::Receiver<Waiting>,
    outlet: Outlet<P, J>,
    limits: GatherLimits,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut is_open = true;
    while is_open || !waiting.is_empty() || !in_flight.is_empty() {
        let at_once = limits.in_flight.min(outlet.publisher.at_once());
        let has_room = in_flight.len() < at_once.max(1);
        if waiting.is_empty() || !has_room {
            tokio::select! {
                Some(()) = in_flight.next() => (),
                received = requests.recv_many(&mut waiting, limits.events),
                    if is_open && has_room => is_open = received > 0,
            }
            continue;
        }
        // Whoever is ready to run may still join: a moment of scheduling, not of time.
        tokio::task::yield_now().await;
        while waiting.len() < limits.events
            && let Ok(request) = requests.try_recv()
        {
            waiting.push(request);
        }
        let rest = waiting.split_off(fitting(&waiting, limits));
        let batch = std::mem::replace(&mut waiting, rest);
        in_flight.push(publish_unharmed(&outlet, batch));
    }
}

/// A panic takes one batch with it, whose requests are told that publishing has stopped; the others go on.
async fn publish_unharmed<P: Publisher, J: Journal>(outlet: &Outlet<P, J>, batch: Vec<Waiting>) {
    if AssertUnwindSafe(publish(outlet, batch)).catch_unwind().await.is_err() {
        error!("a publish failed by a panic");
    }
}

/// How many of the waiting requests go out together: at least one.
fn fitting(waiting: &[Waiting], limits: GatherLimits) -> usize {
    let (mut events, mut bytes) = (0, 0);
    let fits = waiting.iter().take_while(|request| {
        events += request.events.len();
        bytes += request.bytes();
        events <= limits.events && bytes <= limits.bytes
    });
    fits.count().max(1)
}

async fn publish<P: Publisher, J: Journal>(outlet: &Outlet<P, J>, batch: Vec<Waiting>) {
    let mut events: Vec<Event> =
        Vec::with_capacity(batch.iter().map(|request| request.events.len()).sum());
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        events.extend(request.events);
        answers.push((request.answer, request.hold));
    }
    let page = outlet.ledger.open(&mut events);
    let outcome = outlet.publisher.publish(&events).await;
    outlet.ledger.close(page, outcome.is_ok());
    drop(events);
    for (answer, hold) in answers {
        drop(hold);
        // A sender that hung up gets no answer; its events are durable all the same.
        drop(answer.send(outcome.clone()));
    }
}
