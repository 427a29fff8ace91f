//! A policy over a publisher: group commit. What concurrent requests bring while earlier publishes
//! are in flight goes out as one, half of those who are there at a time; one request at rest is not delayed.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
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
    /// Publishes in flight at once, where the publisher takes as many. Where half of the requests go at a time there are
    /// seldom more than two; where requests are few, a third one is on its way before the first has been confirmed.
    pub in_flight: usize,
    /// Requests that wait; a further one waits for a place before it waits for its publish.
    pub waiting: usize,
    /// How long a publish may wait until as many requests are in it as are elsewhere, and for how long one that was
    /// answered counts as elsewhere: its sender may be back at once. Timers are of whole milliseconds.
    pub company: Duration,
}

impl Default for GatherLimits {
    fn default() -> Self {
        let company = Duration::from_millis(1);
        Self { events: 1000, bytes: 4 << 20, in_flight: 3, waiting: 4096, company }
    }
}

/// What an event takes beside its payload, in bytes, about.
const EVENT_OVERHEAD: usize = 400;

/// Requests elsewhere from which on waiting for others pays. What a publish costs hardly depends on how much is in it, and
/// is half a millisecond of a core in RabbitMQ: whatever is ready at once, instead, makes many small ones.
const COMPANY_MIN: usize = 4;

/// One request's events, what it holds while they are here, and where its answer goes.
struct Waiting {
    events: Vec<Event>,
    hold: Box<dyn Any + Send>,
    answer: oneshot::Sender<Result<Accepted, Failure>>,
}

/// How much some requests bring.
#[derive(Debug, Default)]
struct Size {
    events: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, requests: &[Waiting]) {
        for event in requests.iter().flat_map(|request| &request.events) {
            self.events += 1;
            self.bytes += event.payload.len() + EVENT_OVERHEAD;
        }
    }

    fn fits(&self, limits: GatherLimits) -> bool {
        self.events <= limits.events && self.bytes <= limits.bytes
    }
}

/// Requests that are there and do not wait.
#[derive(Debug, Default)]
struct Elsewhere {
    on_their_way: usize,
    /// Those of the last publish that came back, and when.
    answered: Option<(usize, Instant)>,
}

impl Elsewhere {
    fn leave(&mut self, requests: usize) {
        self.on_their_way += requests;
    }

    fn come_back(&mut self, requests: usize) {
        self.on_their_way -= requests;
        self.answered = Some((requests, Instant::now()));
    }

    /// How many requests are half of all that are there, when so many wait.
    fn half(&self, waiting: usize, recently: Duration) -> usize {
        let answered = match self.answered {
            Some((requests, at)) if at.elapsed() < recently => requests,
            Some(_) | None => 0,
        };
        let elsewhere = self.on_their_way + answered;
        if elsewhere < COMPANY_MIN { 0 } else { usize::midpoint(elsewhere, waiting) }
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
    let mut elsewhere = Elsewhere::default();
    let mut is_open = true;
    while is_open || !waiting.is_empty() || !in_flight.is_empty() {
        let at_once = limits.in_flight.min(outlet.publisher.at_once());
        let has_room = in_flight.len() < at_once.max(1);
        if waiting.is_empty() || !has_room {
            tokio::select! {
                Some(answered) = in_flight.next() => elsewhere.come_back(answered),
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
        // Two halves take turns: one is on its way, and the other gathers.
        let half = elsewhere.half(waiting.len(), limits.company);
        let until = Instant::now() + limits.company;
        let (mut size, mut weighed) = (Size::default(), 0);
        while is_open && waiting.len() < half {
            size.add(&waiting[weighed..]);
            weighed = waiting.len();
            if !size.fits(limits) {
                break;
            }
            tokio::select! {
                Some(answered) = in_flight.next() => elsewhere.come_back(answered),
                received = requests.recv_many(&mut waiting, half - weighed) => is_open = received > 0,
                () = sleep_until(until) => break,
            }
        }
        let rest = waiting.split_off(fitting(&waiting, limits));
        let batch = std::mem::replace(&mut waiting, rest);
        elsewhere.leave(batch.len());
        in_flight.push(publish_unharmed(&outlet, batch));
    }
}

/// Answers how many requests it was. A panic takes one batch with it, whose requests are told that publishing has stopped;
/// the others go on.
async fn publish_unharmed<P: Publisher, J: Journal>(
    outlet: &Outlet<P, J>,
    batch: Vec<Waiting>,
) -> usize {
    let requests = batch.len();
    if AssertUnwindSafe(publish(outlet, batch)).catch_unwind().await.is_err() {
        error!("a publish failed by a panic");
    }
    requests
}

/// How many of the waiting requests go out together: at least one.
fn fitting(waiting: &[Waiting], limits: GatherLimits) -> usize {
    let mut size = Size::default();
    let fits = waiting.iter().take_while(|request| {
        size.add(std::slice::from_ref(request));
        size.fits(limits)
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
