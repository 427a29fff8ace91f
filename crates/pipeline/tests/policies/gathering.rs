//! Requests are gathered, and spill to the outbox in an outage.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use treehook_event::{Accepted, Event, Failure, Intake as _, Publisher};
use treehook_pipeline::{Gather, GatherLimits, Spool};

use crate::setup::{Shelf, event, leaked, outage, unaudited};

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

/// Takes ten milliseconds for a publish, and remembers how many events each had.
#[derive(Default)]
struct Tolling(Mutex<Vec<usize>>);

impl Publisher for &'static Tolling {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        sleep(Duration::from_millis(10)).await;
        self.0.lock().unwrap().push(events.len());
        Ok(Accepted::Queued)
    }
}

/// What 32 senders make of it who come back one after the other, a tenth of a millisecond apart.
async fn publishes_of_a_crowd(company: Duration) -> Vec<usize> {
    let tolling = leaked(Tolling::default());
    let limits = GatherLimits { company, ..GatherLimits::default() };
    let (gather, task) = Gather::start(tolling, unaudited(), limits);
    let senders = (0..32).map(|number| {
        let gather = gather.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_millis(number)).await;
                gather.take_in(vec![event("e")], Box::new(())).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    drop(gather);
    task.await.unwrap();
    std::mem::take(&mut *tolling.0.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn half_of_those_who_are_there_go_out_at_a_time() {
    let alone = publishes_of_a_crowd(Duration::ZERO).await;
    let together = publishes_of_a_crowd(Duration::from_millis(50)).await;
    for publishes in [&alone, &together] {
        assert_eq!(publishes.iter().sum::<usize>(), 32 * 20, "{publishes:?}");
    }
    assert!(together.len() * 2 < alone.len(), "{alone:?} {together:?}");
}

#[tokio::test(start_paused = true)]
async fn for_company_a_request_waits_a_moment_and_one_at_rest_or_a_full_publish_none() {
    let shelf = leaked(Shelf::new());
    let limits = GatherLimits { events: 10, ..GatherLimits::default() };
    let (gather, task) = Gather::start(shelf, unaudited(), limits);
    let take_in = async |events: usize| {
        let started = Instant::now();
        gather.take_in(vec![event("e"); events], Box::new(())).await.unwrap();
        started.elapsed()
    };
    let crowd = async || {
        futures_util::future::join_all((0..8).map(|_| take_in(1))).await;
    };
    crowd().await;
    let waited = take_in(1).await;
    assert!(waited >= limits.company && waited <= 3 * limits.company, "{waited:?}");
    crowd().await;
    assert_eq!(take_in(11).await, Duration::ZERO);
    crowd().await;
    sleep(2 * limits.company).await;
    assert_eq!(take_in(1).await, Duration::ZERO);
    drop(gather);
    task.await.unwrap();
}
