//! The loop and the policies, against a publisher, a consumer and a handler that fail on demand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use treehook_event::{
    Accepted, Body, Compression, Consumer, Delivery, Event, EventType, Failure, Handler, Identity,
    Intake, Packet, Publisher, ReceiverId, SourceName, Timestamp, decode_batch,
};
use treehook_pipeline::{
    Forward, Gather, GatherLimits, GiveWay, Ledger, Limits, Spool, Unkept, drain,
};

fn event(identity: &str) -> Event {
    Event {
        source: SourceName::new("linktree").unwrap(),
        identity: Identity::given(identity),
        occurred_at: Timestamp::from_seconds(1),
        received_at: Timestamp::from_seconds(1),
        entry: None,
        body: Body::Unknown { event_type: EventType::given("x") },
        payload: "{}".into(),
    }
}

fn names(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.identity.to_string()).collect()
}

/// Keeps what is published, unless told to fail; holds publishes while the gate is closed.
struct Shelf {
    at_once: usize,
    batches: Mutex<Vec<Vec<String>>>,
    failure: Mutex<Option<Failure>>,
    gate: watch::Sender<bool>,
}

impl Shelf {
    fn new() -> Self {
        Self {
            at_once: usize::MAX,
            batches: Mutex::default(),
            failure: Mutex::default(),
            gate: watch::Sender::new(true),
        }
    }

    fn failing(failure: Failure) -> Self {
        let shelf = Self::new();
        *shelf.failure.lock().unwrap() = Some(failure);
        shelf
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.batches.lock().unwrap().clone()
    }
}

impl Publisher for &'static Shelf {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.unwrap();
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        self.batches.lock().unwrap().push(names(events));
        Ok(Accepted::Queued)
    }

    fn at_once(&self) -> usize {
        self.at_once
    }
}

/// Lives as long as the test process: policies own their publishers.
fn leaked<T>(publisher: T) -> &'static T {
    Box::leak(Box::new(publisher))
}

fn outage() -> Failure {
    Failure::transient("broker_down", "no broker")
}

/// A ledger that nobody reads.
fn unaudited() -> Arc<Ledger<Unkept>> {
    Arc::new(Ledger::start(ReceiverId(1), 1, Vec::new(), Unkept))
}

#[tokio::test]
async fn one_request_at_rest_goes_out_alone_and_at_once() {
    let shelf = leaked(Shelf::new());
    let (gather, task) = Gather::start(shelf, unaudited(), GatherLimits::default());
    assert_eq!(gather.take_in(vec![event("a")], Box::new(())).await, Ok(Accepted::Queued));
    assert_eq!(shelf.batches(), [["a"]]);
    drop(gather);
    task.await.unwrap();
}

#[tokio::test]
async fn what_comes_while_publishes_are_in_flight_goes_out_together_within_limits() {
    let shelf = leaked(Shelf::new());
    let limits = GatherLimits { events: 10, in_flight: 1, ..GatherLimits::default() };
    let (gather, task) = Gather::start(shelf, unaudited(), limits);
    shelf.gate.send_replace(false);
    let requests: Vec<_> = (0..25)
        .map(|n| {
            let gather = gather.clone();
            tokio::spawn(async move {
                gather.take_in(vec![event(&format!("e{n}"))], Box::new(())).await
            })
        })
        .collect();
    // All are under way: nobody is answered while the gate is closed.
    tokio::task::yield_now().await;
    shelf.gate.send_replace(true);
    for request in requests {
        assert_eq!(request.await.unwrap(), Ok(Accepted::Queued));
    }
    let batches = shelf.batches();
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 25);
    assert!(batches.iter().all(|batch| batch.len() <= 10), "{batches:?}");
    assert!(batches.len() < 25, "nothing was gathered: {batches:?}");
    drop(gather);
    task.await.unwrap();
}

#[tokio::test]
async fn a_publisher_that_takes_one_at_a_time_gets_larger_batches() {
    let shelf = leaked(Shelf { at_once: 1, ..Shelf::new() });
    let (gather, task) = Gather::start(shelf, unaudited(), GatherLimits::default());
    shelf.gate.send_replace(false);
    let take_in = |name| gather.take_in(vec![event(name)], Box::new(()));
    let others = async {
        // Until the first one is under way.
        while shelf.gate.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::join!(take_in("b"), take_in("c"), async {
            tokio::task::yield_now().await;
            shelf.gate.send_replace(true);
        })
    };
    let (first, (second, third, ())) = tokio::join!(take_in("a"), others);
    for answer in [first, second, third] {
        assert_eq!(answer, Ok(Accepted::Queued));
    }
    assert_eq!(shelf.batches(), [vec!["a"], vec!["b", "c"]]);
    drop(gather);
    task.await.unwrap();
}

#[tokio::test]
async fn in_an_outage_the_outbox_says_how_many_publishes_it_takes() {
    let broker = leaked(Shelf::failing(outage()));
    let outbox = leaked(Shelf { at_once: 1, ..Shelf::new() });
    let spool = Spool::new(broker, outbox);
    assert_eq!(spool.at_once(), usize::MAX);
    assert_eq!(spool.publish(&[event("a")]).await, Ok(Accepted::Spooled));
    assert_eq!(spool.at_once(), 2);
    *broker.failure.lock().unwrap() = None;
    assert_eq!(spool.publish(&[event("b")]).await, Ok(Accepted::Queued));
    assert_eq!(spool.at_once(), usize::MAX);
}

#[tokio::test]
async fn everybody_gathered_hears_of_the_failure() {
    let shelf = leaked(Shelf::failing(outage()));
    let (gather, task) = Gather::start(shelf, unaudited(), GatherLimits::default());
    let take_in = |name| gather.take_in(vec![event(name)], Box::new(()));
    let (first, second) = tokio::join!(take_in("a"), take_in("b"));
    assert_eq!((first, second), (Err(outage()), Err(outage())));
    drop(gather);
    task.await.unwrap();
}

#[tokio::test]
async fn an_outage_spills_to_the_outbox_and_nothing_else_does() {
    let (broker, outbox) = (leaked(Shelf::new()), leaked(Shelf::new()));
    let spool = Spool::new(broker, outbox);
    assert_eq!(spool.publish(&[event("a")]).await, Ok(Accepted::Queued));
    *broker.failure.lock().unwrap() = Some(outage());
    assert_eq!(spool.publish(&[event("b")]).await, Ok(Accepted::Spooled));
    let poison = Failure::poison("invalid_data", "no");
    *broker.failure.lock().unwrap() = Some(poison.clone());
    assert_eq!(spool.publish(&[event("c")]).await, Err(poison));
    *broker.failure.lock().unwrap() = Some(outage());
    *outbox.failure.lock().unwrap() = Some(Failure::transient("outbox_full", "full"));
    assert!(spool.publish(&[event("d")]).await.is_err());
    assert_eq!(
        (broker.batches(), outbox.batches()),
        (vec![vec!["a".into()]], vec![vec!["b".into()]])
    );
}

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
async fn a_second_full_batch_is_begun_beside_the_first_and_a_lone_event_has_nothing_beside_it() {
    let full = || vec![event("a"), event("b")];
    let lone = || vec![event("a")];
    for (deliveries, limit, most) in [
        (vec![full(), full(), full(), full()], 2, 2),
        (vec![full(), full()], 5, 1),
        (vec![lone(), lone(), lone()], 1, 1),
    ] {
        let count = u32::try_from(deliveries.len()).unwrap();
        let stop = CancellationToken::new();
        let mut script = OneByOne(Script::of(deliveries, &stop));
        let (side, limits) = (Side::default(), Limits { batch: limit, ..Limits::default() });
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

/// Publishes what is not poison, or does not pretend to be anything else.
#[derive(Default)]
struct Choosy(Mutex<Vec<(String, &'static str)>>);

impl Publisher for &'static Choosy {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let is_poison = |event: &Event| {
            event.identity.as_str().starts_with("poison") && event.type_label() != "unfit"
        };
        if events.iter().any(is_poison) {
            return Err(Failure::poison("invalid_data", "one of them"));
        }
        let told = events.iter().map(|event| (event.identity.to_string(), event.type_label()));
        self.0.lock().unwrap().extend(told);
        Ok(Accepted::Queued)
    }
}

impl Publisher<Packet> for &'static Choosy {
    async fn publish(&self, packets: &[Packet]) -> Result<Accepted, Failure> {
        let opened = |packet: &Packet| decode_batch(&packet.body).unwrap();
        let events: Vec<Event> = packets.iter().flat_map(opened).collect();
        Publisher::<Event>::publish(self, &events).await
    }
}

#[tokio::test]
async fn of_a_packet_that_is_refused_only_what_is_at_fault_goes_on_as_unfit() {
    let names = |names: &[&str]| -> Vec<Event> { names.iter().map(|name| event(name)).collect() };
    let packets =
        [names(&["a", "b"]), names(&["c", "poison", "d"])].map(|events| Packet::pack(&events));
    let choosy = leaked(Choosy::default());
    let forward = Forward::new(choosy, metrics::Counter::noop());
    let packets = packets.concat();
    assert!(matches!(forward.handle(&packets).await, Err(Failure::Poison(_))));
    forward.handle(&packets[..1]).await.unwrap();
    Handler::<Packet>::bury(&forward, &packets[1], "invalid_data").await.unwrap();
    let published = choosy.0.lock().unwrap().clone();
    let told: Vec<(&str, &str)> = published.iter().map(|(name, label)| (&**name, *label)).collect();
    let plain = "unknown";
    assert_eq!(told, [("a", plain), ("b", plain), ("c", plain), ("poison", "unfit"), ("d", plain)]);
}

/// Takes a tenth of a second for each call, and remembers how many events it got at once.
#[derive(Default)]
struct Slow(Mutex<Vec<usize>>);

impl Handler<Packet> for &'static Slow {
    async fn handle(&self, packets: &[Packet]) -> Result<(), Failure> {
        let events = packets.iter().map(|packet| packet.events).sum();
        self.0.lock().unwrap().push(events);
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>())
            .await
            .unwrap_err();
        Ok(())
    }

    async fn bury(&self, _packet: &Packet, _reason: &str) -> Result<(), Failure> {
        unreachable!("nothing is at fault")
    }

    async fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_gives_way_to_live_traffic_and_takes_all_at_once_without() {
    let slow = leaked(Slow::default());
    let accepted = Arc::new(AtomicU64::new(5));
    let relay = GiveWay::new(slow, Arc::clone(&accepted));
    let packets = [150, 40, 60, 500].map(|events| {
        let body = Vec::new();
        Packet { routing_key: "a.b".into(), events, body, compression: Compression::None }
    });
    let handle = async || {
        let started = tokio::time::Instant::now();
        relay.handle(&packets).await.unwrap();
        (std::mem::take(&mut *slow.0.lock().unwrap()), started.elapsed().as_millis())
    };
    assert_eq!(handle().await.0, [750]);
    accepted.store(6, Ordering::Relaxed);
    let (parts, took) = handle().await;
    assert_eq!(parts, [190, 60, 500]);
    assert!(took >= 300 + 750, "each part is followed by a rest, not {took} ms in all");
    // Nothing has come since.
    let a_second = Duration::from_secs(1);
    tokio::time::timeout(a_second, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(handle().await.0, [750]);
}
