//! The loop between a consumer and a handler.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use treehook_event::{Consumer, Delivery, Event, Failure, Handler};
use treehook_pipeline::{Limits, drain};

use crate::setup::{event, names};

/// Hands out scripted deliveries and remembers what was settled and released.
struct Script {
    waiting: VecDeque<(u32, Vec<Event>)>,
    in_hand: Vec<(u32, Vec<Event>)>,
    settled: Vec<u32>,
    released: usize,
    stop: CancellationToken,
}

impl Script {
    fn of(deliveries: Vec<Vec<Event>>, stop: &CancellationToken) -> Self {
        Self {
            waiting: (0..).zip(deliveries).collect(),
            in_hand: Vec::new(),
            settled: Vec::new(),
            released: 0,
            stop: stop.clone(),
        }
    }
}

impl Consumer for Script {
    type Receipt = u32;

    async fn receive(
        &mut self,
        _limit: usize,
        _wait: Duration,
    ) -> Result<Vec<Delivery<u32>>, Failure> {
        if self.waiting.is_empty() {
            self.stop.cancel();
        }
        self.in_hand = self.waiting.drain(..).collect();
        let deliveries = self.in_hand.iter().cloned();
        let delivery = |(receipt, events): (u32, Vec<Event>)| {
            let is_given_up = names(&events).iter().any(|name| name.starts_with("deadly"));
            Delivery { receipt, events, is_given_up }
        };
        Ok(deliveries.map(delivery).collect())
    }

    async fn settle(&mut self, receipts: Vec<u32>) -> Result<(), Failure> {
        self.in_hand.retain(|(receipt, _)| !receipts.contains(receipt));
        self.settled.extend(receipts);
        Ok(())
    }

    async fn release(&mut self) {
        self.released += 1;
        self.waiting = self.in_hand.drain(..).collect();
    }
}

/// Handles everything but poison, after a number of outages.
#[derive(Default)]
struct Hand {
    outages: Mutex<u32>,
    handled: Mutex<Vec<String>>,
    buried: Mutex<Vec<(String, String)>>,
}

impl Handler for Hand {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.ready().await?;
        if names(events).iter().any(|name| name.starts_with("poison")) {
            return Err(Failure::poison("invalid_data", "one of them"));
        }
        self.handled.lock().unwrap().extend(names(events));
        Ok(())
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.buried.lock().unwrap().push((event.identity.to_string(), reason.to_owned()));
        Ok(())
    }

    async fn ready(&self) -> Result<(), Failure> {
        let mut left = self.outages.lock().unwrap();
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(Failure::transient("database_down", "no database"))
    }
}

#[tokio::test]
async fn one_bad_apple_is_buried_and_its_neighbours_are_handled() {
    let stop = CancellationToken::new();
    let batch: Vec<Event> =
        ["a", "b", "poison1", "c", "d", "poison2", "e"].iter().map(|name| event(name)).collect();
    let mut script = Script::of(vec![batch, vec![event("f")]], &stop);
    let hand = Hand::default();
    drain(&mut script, &hand, &Limits::default(), &stop).await.unwrap();
    assert_eq!(*hand.handled.lock().unwrap(), ["a", "b", "c", "d", "e", "f"]);
    let buried = hand.buried.lock().unwrap();
    let expected = ["poison1", "poison2"].map(|name| (name.to_owned(), "invalid_data".to_owned()));
    assert_eq!(*buried, expected);
    assert_eq!(script.settled, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_its_queue_gives_up_is_buried_unopened_also_after_an_outage() {
    let stop = CancellationToken::new();
    let batch = vec![vec![event("a")], vec![event("deadly")], vec![event("b")]];
    let mut script = Script::of(batch, &stop);
    let hand = Hand { outages: Mutex::new(2), ..Hand::default() };
    drain(&mut script, &hand, &Limits::default(), &stop).await.unwrap();
    assert_eq!(*hand.handled.lock().unwrap(), ["a", "b"]);
    let buried = hand.buried.lock().unwrap();
    assert!(buried.contains(&("deadly".to_owned(), "delivery_limit".to_owned())), "{buried:?}");
    assert!(buried.iter().all(|(name, _)| name == "deadly"), "{buried:?}");
    assert_eq!(script.settled, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_holds_the_batch_in_hand() {
    let stop = CancellationToken::new();
    let mut script = Script::of(vec![vec![event("a")], vec![event("b")]], &stop);
    let hand = Hand { outages: Mutex::new(8), ..Hand::default() };
    drain(&mut script, &hand, &Limits::default(), &stop).await.unwrap();
    assert_eq!(*hand.handled.lock().unwrap(), ["a", "b"]);
    assert_eq!((script.settled, script.released), (vec![0, 1], 0));
    assert!(hand.buried.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_hands_the_batch_back_once_and_resumes() {
    let stop = CancellationToken::new();
    let mut script = Script::of(vec![vec![event("a")]], &stop);
    // 200 tries at up to 5 s are far beyond the 3 minutes that a batch is held.
    let hand = Hand { outages: Mutex::new(200), ..Hand::default() };
    drain(&mut script, &hand, &Limits::default(), &stop).await.unwrap();
    assert_eq!(*hand.handled.lock().unwrap(), ["a"]);
    assert_eq!((script.settled, script.released), (vec![0], 1));
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_in_an_outage_it_settles_nothing() {
    let stop = CancellationToken::new();
    let mut script = Script::of(vec![vec![event("a")]], &stop);
    let hand = Hand { outages: Mutex::new(u32::MAX), ..Hand::default() };
    let limits = Limits::default();
    let stopping = async {
        tokio::time::timeout(Duration::from_secs(30), std::future::pending::<()>())
            .await
            .unwrap_err();
        stop.cancel();
    };
    let (drained, ()) = tokio::join!(drain(&mut script, &hand, &limits, &stop), stopping);
    drained.unwrap();
    assert!(script.settled.is_empty());
}

/// Hands out one delivery at a time, as long as there are any.
struct OneByOne(Script);

impl Consumer for OneByOne {
    type Receipt = u32;

    async fn receive(
        &mut self,
        _limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<u32>>, Failure> {
        let Some((receipt, events)) = self.0.waiting.pop_front() else {
            // Nothing there is an answer to whoever only looks, and the end for whoever waits.
            if !wait.is_zero() {
                self.0.stop.cancel();
            }
            return Ok(Vec::new());
        };
        Ok(vec![Delivery { receipt, events, is_given_up: false }])
    }

    async fn settle(&mut self, receipts: Vec<u32>) -> Result<(), Failure> {
        self.0.settle(receipts).await
    }

    async fn release(&mut self) {
        self.0.release().await;
    }
}

/// Counts the batches that are handled at the same time, each for a second.
#[derive(Default)]
struct Side {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Handler for Side {
    async fn handle(&self, _events: &[Event]) -> Result<(), Failure> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>())
            .await
            .unwrap_err();
        self.now.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    async fn bury(&self, _event: &Event, _reason: &str) -> Result<(), Failure> {
        unreachable!("nothing is at fault")
    }

    async fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn full_batches_are_begun_beside_the_first_and_a_lone_event_has_nothing_beside_it() {
    let full = || vec![event("a"), event("b")];
    let lone = || vec![event("a")];
    for (deliveries, batch, in_hand, most) in [
        (vec![full(), full(), full(), full()], 2, 1, 1),
        (vec![full(), full(), full(), full()], 2, 2, 2),
        (vec![full(), full(), full(), full()], 2, 3, 3),
        (vec![full(), full()], 2, 3, 2),
        (vec![full(), full()], 5, 2, 1),
        (vec![lone(), lone(), lone()], 1, 2, 1),
    ] {
        let count = u32::try_from(deliveries.len()).unwrap();
        let stop = CancellationToken::new();
        let mut script = OneByOne(Script::of(deliveries, &stop));
        let (side, limits) = (Side::default(), Limits { batch, in_hand, ..Limits::default() });
        drain(&mut script, &side, &limits, &stop).await.unwrap();
        assert_eq!(side.most.into_inner(), most);
        script.0.settled.sort_unstable();
        assert!(script.0.settled.into_iter().eq(0..count));
    }
}

/// Takes three seconds to settle anything.
struct SlowToSettle(OneByOne);

impl Consumer for SlowToSettle {
    type Receipt = u32;

    async fn receive(
        &mut self,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<u32>>, Failure> {
        self.0.receive(limit, wait).await
    }

    async fn settle(&mut self, receipts: Vec<u32>) -> Result<(), Failure> {
        if !receipts.is_empty() {
            tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>())
                .await
                .unwrap_err();
        }
        self.0.settle(receipts).await
    }

    async fn release(&mut self) {
        self.0.release().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_batch_is_settled_another_is_handled() {
    let full = || vec![event("a"), event("b")];
    let stop = CancellationToken::new();
    let script = Script::of(vec![full(), full(), full(), full()], &stop);
    let mut slow = SlowToSettle(OneByOne(script));
    let (side, limits) = (Side::default(), Limits { batch: 2, ..Limits::default() });
    let started = tokio::time::Instant::now();
    drain(&mut slow, &side, &limits, &stop).await.unwrap();
    // A second for the first, and none for the others.
    assert_eq!(started.elapsed().as_secs(), 1 + 4 * 3);
    assert_eq!(slow.0.0.settled.len(), 4);
}

/// Cannot go on.
struct Broken;

impl Handler for Broken {
    async fn handle(&self, _events: &[Event]) -> Result<(), Failure> {
        Err(Failure::fatal("broken", "it cannot go on"))
    }

    async fn bury(&self, _event: &Event, _reason: &str) -> Result<(), Failure> {
        unreachable!("nothing is at fault")
    }

    async fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_go_on_hands_back_what_it_holds() {
    let stop = CancellationToken::new();
    let mut script = Script::of(vec![vec![event("a")]], &stop);
    let ended = drain(&mut script, &Broken, &Limits::default(), &stop).await;
    assert!(matches!(ended, Err(Failure::Fatal(_))));
    assert_eq!((script.settled, script.released), (vec![], 1));
}
