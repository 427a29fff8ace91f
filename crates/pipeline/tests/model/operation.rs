//! One operation of a process on the world: it takes steps, has a fate, and may be the last.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;
use treehook_event::{
    Accepted, Compression, Consumer, Delivery, Event, Failure, Packet, Publisher, Statement,
    decode_batch,
};
use treehook_pipeline::Journal;

use crate::life::{Life, Step};
use crate::sim::Sim;
use crate::weather::{Fate, Target};
use crate::world::{Flaw, Place, World};

/// After how long a caller gives an answer up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A process, as what it uses sees it.
#[derive(Clone)]
pub(crate) struct Hand {
    pub(crate) sim: Arc<Sim>,
    pub(crate) life: Arc<Life>,
}

impl Hand {
    /// One await: at once, after others, after a while, or never again.
    async fn step(&self) {
        let (step, pause) = {
            let mut world = self.sim.world();
            let step = self.life.step();
            let role = self.life.role;
            match step {
                Step::Goes | Step::IsDead => (),
                Step::Dies => world.note(|| format!("{role:?} dies")),
                Step::ToldToStop => world.note(|| format!("{role:?} is told to stop")),
            }
            if step == Step::IsDead {
                (step, 0)
            } else {
                world.meanwhile();
                (step, world.rng.random_range(0..8_u64))
            }
        };
        self.sim.stir();
        match (step, pause) {
            (Step::Dies | Step::IsDead, _) => std::future::pending().await,
            (Step::Goes | Step::ToldToStop, 0..4) => (),
            (Step::Goes | Step::ToldToStop, 4..6) => tokio::task::yield_now().await,
            (Step::Goes | Step::ToldToStop, pause) => sleep(Duration::from_millis(pause * 3)).await,
        }
    }

    /// Carries an operation out, as its fate will have it.
    pub(crate) async fn attempt<T>(
        &self,
        target: Target,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _busy = Busy::new(&self.sim);
        self.step().await;
        let lost = || Err(Failure::transient("connection_lost", what));
        let late = || Err(Failure::transient("timeout", what));
        let fate = self.fate(target, what);
        let outcome = match fate {
            Fate::Works => effect(&mut self.sim.world()),
            Fate::FailsBefore => lost(),
            Fate::FailsAfter => effect(&mut self.sim.world()).and_then(|_| lost()),
            Fate::Hangs => {
                sleep(TIMEOUT).await;
                late()
            }
            Fate::HappensLater => {
                let unheard = move |world: &mut World| drop(effect(world));
                self.sim.world().will_happen(Box::new(unheard));
                sleep(TIMEOUT).await;
                late()
            }
        };
        self.step().await;
        outcome
    }

    fn fate(&self, target: Target, what: &'static str) -> Fate {
        let mut world = self.sim.world();
        let World { weather, rng, steps, .. } = &mut *world;
        let fate = weather.fate(target, *steps, rng);
        let told = match fate {
            Fate::Works => "works",
            Fate::FailsBefore => "fails before",
            Fate::FailsAfter => "fails after",
            Fate::Hangs => "hangs",
            Fate::HappensLater => "hangs, then it happens",
        };
        world.note(|| format!("{:?}: {what} on {target:?} {told}", self.life.role));
        fate
    }
}

/// An operation under way, for as long as this is kept.
struct Busy<'a>(&'a Sim);

impl<'a> Busy<'a> {
    fn new(sim: &'a Sim) -> Self {
        sim.world().busy += 1;
        Self(sim)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.world().busy -= 1;
        self.0.stir();
    }
}

/// Publishes to a queue of the world.
#[derive(Clone)]
pub(crate) struct SimPublisher {
    pub(crate) hand: Hand,
    pub(crate) place: Place,
}

impl Place {
    fn target(self) -> Target {
        match self {
            Self::Broker => Target::Broker,
            Self::Outbox => Target::Disk,
            Self::Backlog => Target::Database,
        }
    }
}

impl Publisher for SimPublisher {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let (place, events) = (self.place, events.to_vec());
        let published = self.hand.attempt(place.target(), "publish", move |world| {
            if place == Place::Broker {
                world.broker_takes(&events)?;
            }
            // Nothing is how somebody asks whether there is a way.
            if !events.is_empty() {
                world.queues[place as usize].publish(events);
            }
            Ok(Accepted::Queued)
        });
        match published.await {
            Err(Failure::Transient(_))
                if place == Place::Outbox && self.hand.sim.world().flaw == Flaw::AnswersAtOnce =>
            {
                Ok(Accepted::Queued)
            }
            outcome => outcome,
        }
    }
}

impl Publisher<Packet> for SimPublisher {
    async fn publish(&self, packets: &[Packet]) -> Result<Accepted, Failure> {
        let opened = |packet: &Packet| {
            let batch = packet.opened().and_then(|batch| decode_batch(&batch));
            batch.expect("a batch")
        };
        let joined = Packet::join(packets, Compression::Lz4);
        let events: Vec<Event> = joined.iter().flat_map(opened).collect();
        Publisher::<Event>::publish(self, &events).await
    }
}

/// Announces to nobody in particular: the world keeps count.
#[derive(Clone)]
pub(crate) struct Announcer(pub(crate) Hand);

impl Publisher for Announcer {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let events = events.to_vec();
        let announced = self.0.attempt(Target::Broker, "announce", move |world| {
            world.announce(&events);
            Ok(Accepted::Queued)
        });
        announced.await
    }
}

/// Consumes a queue of the world.
pub(crate) struct SimConsumer {
    hand: Hand,
    place: Place,
    session: Option<u32>,
}

impl SimConsumer {
    pub(crate) fn new(hand: &Hand, place: Place) -> Self {
        Self { hand: hand.clone(), place, session: None }
    }

    /// The session that is open, or a new one.
    fn session(&mut self) -> u32 {
        let queue = &mut self.hand.sim.world().queues[self.place as usize];
        let open = self.session.filter(|session| queue.is_open(*session));
        let session = open.unwrap_or_else(|| queue.open_session());
        self.session = Some(session);
        session
    }

    fn close(&mut self) {
        let Some(session) = self.session.take() else { return };
        let mut world = self.hand.sim.world();
        let World { queues, rng, .. } = &mut *world;
        queues[self.place as usize].close_session(session, rng);
        drop(world);
        self.hand.sim.stir();
    }

    /// Waits until there is something, not for long.
    async fn wait(&self, wait: Duration) {
        let arrived = self.hand.sim.arrived.notified();
        if self.hand.sim.world().queues[self.place as usize].has_ready() {
            return;
        }
        drop(tokio::time::timeout(wait, arrived).await);
    }
}

impl Consumer for SimConsumer {
    type Receipt = (u32, u32);

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<(u32, u32)>>, Failure> {
        self.wait(wait).await;
        let (place, session) = (self.place, self.session());
        if !self.hand.sim.world().queues[place as usize].has_ready() {
            return Ok(Vec::new());
        }
        let received = self.hand.attempt(place.target(), "receive", move |world| {
            let flaw = world.flaw;
            let World { queues, rng, .. } = world;
            let queue = &mut queues[place as usize];
            let taken = queue.take(session, limit, rng);
            if flaw == Flaw::SettlesFirst {
                let tags: Vec<u32> = taken.iter().map(|(tag, _)| *tag).collect();
                queue.settle(session, &tags);
            }
            Ok(taken)
        });
        let received = received.await?;
        let delivery =
            |(tag, events)| Delivery { receipt: (session, tag), events, is_given_up: false };
        Ok(received.into_iter().map(delivery).collect())
    }

    async fn settle(&mut self, mut receipts: Vec<(u32, u32)>) -> Result<(), Failure> {
        let place = self.place;
        // In two parts, so that one may be settled and the other not.
        let middle = self.hand.sim.world().rng.random_range(0..=receipts.len());
        let second = receipts.split_off(middle);
        for part in [receipts, second] {
            let Some((session, _)) = part.first().copied() else { continue };
            let tags: Vec<u32> = part.iter().map(|(_, tag)| *tag).collect();
            let settled = self.hand.attempt(place.target(), "settle", move |world| {
                if place == Place::Outbox && world.flaw == Flaw::NeverSettles
                    || world.flaw == Flaw::SettlesFirst
                {
                    return Ok(());
                }
                if world.queues[place as usize].settle(session, &tags) {
                    return Ok(());
                }
                Err(Failure::transient("connection_lost", "the session has ended"))
            });
            settled.await?;
        }
        Ok(())
    }

    async fn release(&mut self) {
        let place = self.place;
        self.hand.sim.world().note(|| format!("{place:?} gets everything back"));
        self.close();
    }
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The same, for a relay: hands out packets.
pub(crate) struct SimRelay(pub(crate) SimConsumer);

impl Consumer<Packet> for SimRelay {
    type Receipt = (u32, u32);

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<(u32, u32), Packet>>, Failure> {
        let packed = |delivery: Delivery<(u32, u32)>| Delivery {
            receipt: delivery.receipt,
            events: Packet::pack(&delivery.events),
            is_given_up: delivery.is_given_up,
        };
        Ok(self.0.receive(limit, wait).await?.into_iter().map(packed).collect())
    }

    async fn settle(&mut self, receipts: Vec<(u32, u32)>) -> Result<(), Failure> {
        self.0.settle(receipts).await
    }

    async fn release(&mut self) {
        self.0.release().await;
    }
}

/// The receiver's journal: what it was given last, as long as its process lives.
pub(crate) struct SimJournal(pub(crate) Hand);

impl Journal for SimJournal {
    fn keep(&self, statements: &[&Statement]) {
        if !self.0.life.is_dead() {
            self.0.sim.world().journal = statements.iter().map(|one| (*one).clone()).collect();
        }
    }
}
