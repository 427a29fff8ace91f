//! One run: a receiver and two workers that die and come back, senders that insist, and the end.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use treehook_event::{Event, Failure, Intake as _, ReceiverId};
use treehook_pipeline::{
    Announce, Forward, Gather, GatherLimits, Ledger, Limits, Record, Spool, drain,
};

use crate::checker::broken_promises;
use crate::life::Role;
use crate::operation::{Announcer, Hand, SimConsumer, SimJournal, SimPublisher, SimRelay};
use crate::sim::Sim;
use crate::store::SimStore;
use crate::traffic::{event, now};
use crate::world::{Flaw, Place};

/// How long everything may take to drain once every fault is over; it takes seconds.
const DRAIN_MAX: Duration = Duration::from_mins(10);
/// How long a process may take to stop when nothing is wrong.
const STOP_MAX: Duration = Duration::from_mins(1);
/// What is older than this is buried; nothing in a run grows old.
const RETENTION_MS: i64 = 1_000_000;

/// What a run came to.
pub(crate) struct Outcome {
    /// Every promise that was not kept.
    pub(crate) broken: Vec<String>,
    /// What happened, if that was asked for.
    pub(crate) trace: Vec<String>,
}

thread_local! {
    /// Where pauses get their length from, so that a run repeats itself.
    static JITTER: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
}

fn jitter() -> f64 {
    JITTER.with_borrow_mut(|rng| rng.random_range(0.0..=1.0))
}

/// Small, so that every limit is met in a run of a few events.
const LIMITS: Limits = Limits {
    batch: 3,
    in_hand: 3,
    wait: Duration::from_secs(20),
    hold: Duration::from_secs(4),
    chance: jitter,
};

/// Carries out the run of this number.
pub(crate) fn run(seed: u64, flaw: Flaw, traced: bool) -> Outcome {
    JITTER.set(StdRng::seed_from_u64(!seed));
    // A runtime of its own: its clock starts with the run.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let sim = Sim::new(seed, flaw, traced);
    let mut broken = runtime.block_on(carry_out(&sim));
    drop(runtime);
    broken.extend(broken_promises(&sim.world()));
    Outcome { broken, trace: sim.take_trace() }
}

async fn carry_out(sim: &Arc<Sim>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut processes = JoinSet::new();
    for role in [Role::Receiver, Role::FirstWorker, Role::SecondWorker] {
        processes.spawn(live(Arc::clone(sim), role));
    }
    let mut senders = JoinSet::new();
    for sender in plan(sim) {
        senders.spawn(sender.send());
    }
    senders.join_all().await;
    sim.heal();
    if timeout(DRAIN_MAX, sim.quiet()).await.is_err() {
        broken.push("it does not drain when every fault is over".to_owned());
    }
    sim.end();
    match timeout(STOP_MAX, processes.join_all()).await {
        Ok(ends) => broken.extend(ends.into_iter().filter_map(Result::err)),
        Err(_) => broken.push("a process that was told to stop does not".to_owned()),
    }
    broken
}

/// A platform's side: one delivery, sent again until it is answered.
struct Sender {
    sim: Arc<Sim>,
    delivery: Vec<usize>,
    after: Duration,
    patience: Duration,
    attempts: u32,
}

/// Who sends what, and when.
fn plan(sim: &Arc<Sim>) -> Vec<Sender> {
    let mut world = sim.world();
    let deliveries = std::mem::take(&mut world.traffic.deliveries);
    let mut sender = |delivery| Sender {
        sim: Arc::clone(sim),
        delivery,
        after: Duration::from_millis(world.rng.random_range(0..1500)),
        patience: Duration::from_millis(world.rng.random_range(100..6000)),
        attempts: world.rng.random_range(1..6),
    };
    deliveries.into_iter().map(&mut sender).collect()
}

impl Sender {
    async fn send(self) {
        sleep(self.after).await;
        let events = self.events();
        for attempt in 1..=self.attempts {
            if attempt > 1 {
                sleep(Duration::from_millis(400) * attempt).await;
                self.sim.world().note(|| format!("{:?} is sent again", self.delivery));
            }
            if self.is_accepted(&events).await {
                return;
            }
        }
        self.sim.world().note(|| format!("sender of {:?} gave up", self.delivery));
    }

    fn events(&self) -> Vec<Event> {
        let faults = &self.sim.world().traffic.faults;
        self.delivery.iter().map(|number| event(*number, faults[*number])).collect()
    }

    /// One attempt: whether it was answered with a 2xx.
    async fn is_accepted(&self, events: &[Event]) -> bool {
        let Some(door) = self.sim.door() else { return false };
        for number in &self.delivery {
            self.sim.world().stories[*number].was_sent = true;
        }
        // A sender that hangs up cancels its request, not what was gathered of it.
        let Ok(Ok(accepted)) =
            timeout(self.patience, door.take_in(events.to_vec(), Box::new(()))).await
        else {
            return false;
        };
        let mut world = self.sim.world();
        for number in &self.delivery {
            world.stories[*number].was_promised = true;
        }
        world.note(|| format!("{:?} accepted {accepted:?}", self.delivery));
        true
    }
}

/// A process that is started again whenever it has ended.
async fn live(sim: Arc<Sim>, role: Role) -> Result<(), String> {
    while let Some(life) = sim.begin_life(role) {
        let hand = Hand { sim: Arc::clone(&sim), life: Arc::clone(&life) };
        let process = async {
            match role {
                Role::Receiver => receive(&hand).await,
                Role::FirstWorker | Role::SecondWorker => work(&hand).await,
            }
        };
        tokio::select! {
            biased;
            // The future of the process is dropped where it stands.
            () = life.death() => (),
            ended = process => ended.map_err(|failure| format!("{role:?} ended with {failure}"))?,
        }
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// The receiver behind its HTTP door, and its relay.
async fn receive(hand: &Hand) -> Result<(), Failure> {
    let broker = SimPublisher { hand: hand.clone(), place: Place::Broker };
    let outbox = SimPublisher { hand: hand.clone(), place: Place::Outbox };
    let limits = GatherLimits { events: 4, in_flight: 2, waiting: 2, ..GatherLimits::default() };
    let (epoch, earlier) = {
        let world = hand.sim.world();
        // No start shares its time with another, as none does outside.
        (u64::from(world.steps), world.journal.clone())
    };
    let ledger = Ledger::start(ReceiverId(1), epoch, earlier, SimJournal(hand.clone()));
    let spool = Spool::new(broker.clone(), outbox);
    let (gather, gathering) = Gather::start(spool, Arc::new(ledger), limits);
    let mut door = Door { hand, gathering };
    hand.sim.set_door(Some(gather));
    let mut consumer = SimRelay(SimConsumer::new(hand, Place::Outbox));
    let forward = Forward::new(broker, Counter::noop());
    let relay = drain(&mut consumer, &forward, &LIMITS, &hand.life.stop);
    let (relayed, ()) = tokio::join!(relay, door.close_when_told());
    relayed
}

/// An open door; it falls shut when the process dies.
struct Door<'a> {
    hand: &'a Hand,
    gathering: JoinHandle<()>,
}

impl Door<'_> {
    async fn close_when_told(&mut self) {
        self.hand.life.stop.cancelled().await;
        self.hand.sim.set_door(None);
        (&mut self.gathering).await.expect("gathering does not panic");
    }
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        self.gathering.abort();
        self.hand.sim.set_door(None);
    }
}

/// A worker, and what makes up for announcements that the broker did not take.
async fn work(hand: &Hand) -> Result<(), Failure> {
    let backlog = SimPublisher { hand: hand.clone(), place: Place::Backlog };
    let handler = Announce {
        inner: Record::new(SimStore(hand.clone()), now, RETENTION_MS),
        publisher: Spool::new(Announcer(hand.clone()), backlog),
        clock: now,
        retention_ms: RETENTION_MS,
    };
    let announce_late = Forward::new(Announcer(hand.clone()), Counter::noop());
    let mut events = SimConsumer::new(hand, Place::Broker);
    let mut unannounced = SimConsumer::new(hand, Place::Backlog);
    let stop = &hand.life.stop;
    let work = drain(&mut events, &handler, &LIMITS, stop);
    let late = drain(&mut unannounced, &announce_late, &LIMITS, stop);
    tokio::try_join!(work, late).map(|_| ())
}
