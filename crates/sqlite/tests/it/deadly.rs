//! Events that kill the worker: a queue in the worker's own process finds them and gives them up.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use treehook_event::{Consumer as _, Event, Publisher as _};
use treehook_sqlite::{Depth, Queue, QueueLimits};

use crate::sample::{click, noon};

/// The one that kills.
const DEADLY: u64 = 7;
/// More starts than any event may cost.
const STARTS_MAX: usize = 60;

async fn open(directory: &Path) -> Queue {
    Queue::open(directory, QueueLimits::default()).await.unwrap()
}

/// What the workers of many starts came to.
#[derive(Default)]
struct Lives {
    deaths: usize,
    handled: Vec<String>,
    given_up: Vec<String>,
}

impl Lives {
    /// One process: works until the queue is empty or it dies. Whether it lives.
    async fn live(&mut self, queue: &Queue) -> bool {
        let mut consumer = queue.wary_consumer();
        while queue.depth().await.unwrap().events > 0 {
            let deliveries = consumer.receive(1000, Duration::ZERO).await.unwrap();
            let opened = deliveries.iter().filter(|delivery| !delivery.is_given_up);
            if opened.flat_map(|delivery| &delivery.events).any(is_deadly) {
                self.deaths += 1;
                return false;
            }
            for delivery in deliveries {
                let place =
                    if delivery.is_given_up { &mut self.given_up } else { &mut self.handled };
                place.extend(delivery.events.iter().map(|event| event.identity.to_string()));
                consumer.settle(vec![delivery.receipt]).await.unwrap();
            }
        }
        true
    }
}

fn is_deadly(event: &Event) -> bool {
    event.identity == click(DEADLY, noon()).identity
}

fn clicks(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|number| click(number, noon())).collect()
}

#[tokio::test]
async fn the_deadly_event_alone_is_given_up() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    // In the middle of a row, between two others.
    for row in [0..3, 3..10, 10..12] {
        queue.publish(&clicks(row)).await.unwrap();
    }
    drop(queue);
    let mut lives = Lives::default();
    loop {
        let queue = open(folder.path()).await;
        if lives.live(&queue).await {
            break;
        }
        assert!(lives.deaths < STARTS_MAX, "it is never given up");
    }
    assert_eq!(lives.given_up, [click(DEADLY, noon()).identity.to_string()]);
    let handled: BTreeSet<String> = lives.handled.iter().cloned().collect();
    assert_eq!((handled.len(), lives.handled.len()), (11, 11), "{:?}", lives.handled);
    assert!((20..30).contains(&lives.deaths), "{} deaths", lives.deaths);
    let queue = open(folder.path()).await;
    assert_eq!(queue.depth().await, Ok(Depth::default()));

    // Whoever comes after it is trusted again.
    queue.publish(&clicks(20..25)).await.unwrap();
    let all = queue.wary_consumer().receive(1000, Duration::ZERO).await.unwrap();
    assert_eq!(all.iter().map(|delivery| delivery.events.len()).collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn workers_that_end_in_good_order_say_nothing_against_what_they_leave() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    queue.publish(&clicks(0..2)).await.unwrap();
    queue.publish(&clicks(2..4)).await.unwrap();
    drop(queue);
    for _ in 0..40 {
        let queue = open(folder.path()).await;
        let all = queue.wary_consumer().receive(1000, Duration::ZERO).await.unwrap();
        assert_eq!(all.len(), 2, "both rows come together");
        assert!(all.iter().all(|delivery| !delivery.is_given_up));
        queue.end_well().await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_gives_up_nothing_however_often_it_dies() {
    let folder = TempDir::new().unwrap();
    let queue = open(folder.path()).await;
    queue.publish(&clicks(0..2)).await.unwrap();
    drop(queue);
    for _ in 0..40 {
        let queue = open(folder.path()).await;
        let all = queue.consumer().receive(1000, Duration::ZERO).await.unwrap();
        assert_eq!((all.len(), all[0].events.len(), all[0].is_given_up), (1, 2, false));
    }
}
