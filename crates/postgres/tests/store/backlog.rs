//! The backlog: several consumers at once, claims that lapse, and what bounds it.

use std::collections::BTreeSet;
use std::time::Duration;

use treehook_event::{Body, Consumer as _, Delivery, Event, Failure, Publisher as _};
use treehook_postgres::BacklogReceipt;

use crate::harness::{Scratch, click, with_store};

const NOON: &str = "2026-11-24T12:00:00Z";
/// Long enough for the next look at what another process has kept.
const DEADLINE: Duration = Duration::from_secs(20);

fn batch(name: &str, events: usize) -> Vec<Event> {
    (0..events).map(|n| click(&format!("{name}{n}"), NOON, "l1", 1)).collect()
}

fn identities(deliveries: &[Delivery<BacklogReceipt>]) -> Vec<String> {
    let events = deliveries.iter().flat_map(|delivery| &delivery.events);
    events.map(|event| event.identity.to_string()).collect()
}

fn receipts(deliveries: Vec<Delivery<BacklogReceipt>>) -> Vec<BacklogReceipt> {
    deliveries.into_iter().map(|delivery| delivery.receipt).collect()
}

#[tokio::test]
async fn batches_come_in_order_and_no_two_consumers_hold_the_same() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        for name in ["a", "b", "c"] {
            backlog.publish(&batch(name, 2)).await.unwrap();
        }
        let (mut one, mut two) = (backlog.consumer(), scratch.another().backlog().consumer());
        let first = one.receive(4, DEADLINE).await.unwrap();
        assert_eq!(identities(&first), ["a0", "a1", "b0", "b1"]);
        let second = two.receive(4, DEADLINE).await.unwrap();
        assert_eq!(identities(&second), ["c0", "c1"]);
        assert!(one.receive(4, Duration::ZERO).await.unwrap().is_empty());
        // Handed back to whoever comes, however long the claim would have held.
        one.release().await;
        let again = two.receive(4, DEADLINE).await.unwrap();
        assert_eq!(identities(&again), identities(&first));
        two.settle(receipts(again)).await.unwrap();
        two.settle(receipts(second)).await.unwrap();
        assert!(one.receive(4, Duration::ZERO).await.unwrap().is_empty());
        assert_eq!(scratch.number("select bytes from announcements_total").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_lost_consumer_held_comes_again_when_its_claim_lapses() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        backlog.publish(&batch("a", 1)).await.unwrap();
        let (mut lost, mut other) = (backlog.consumer(), backlog.consumer());
        let held = lost.receive(10, DEADLINE).await.unwrap();
        drop((held, lost));
        assert!(other.receive(10, Duration::ZERO).await.unwrap().is_empty());
        scratch.meddle("update announcements set claimed_until = now() - interval '1 s'").await;
        assert_eq!(identities(&other.receive(10, DEADLINE).await.unwrap()), ["a0"]);
        // What it holds itself does not come again, and its claim is prolonged instead.
        scratch.meddle("update announcements set claimed_until = now() - interval '1 s'").await;
        assert!(other.receive(10, Duration::ZERO).await.unwrap().is_empty());
        assert!(backlog.consumer().receive(10, Duration::ZERO).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_another_process_keeps_is_seen_soon() {
    with_store(async |scratch: Scratch| {
        let (ours, theirs) = (scratch.store.backlog(), scratch.another().backlog());
        let mut consumer = ours.consumer();
        let kept = batch("a", 1);
        let (received, published) =
            tokio::join!(consumer.receive(10, DEADLINE), theirs.publish(&kept));
        published.unwrap();
        assert_eq!(identities(&received.unwrap()), ["a0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_drain_everything_once() {
    const BATCHES: usize = 60;
    with_store(async |scratch: Scratch| {
        for n in 0..BATCHES {
            scratch.store.backlog().publish(&batch(&format!("{n}-"), 3)).await.unwrap();
        }
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut consumer = scratch.another().backlog().consumer();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    loop {
                        let deliveries =
                            consumer.receive(10, Duration::from_secs(3)).await.unwrap();
                        if deliveries.is_empty() {
                            return taken;
                        }
                        taken.extend(identities(&deliveries));
                        consumer.settle(receipts(deliveries)).await.unwrap();
                    }
                })
            })
            .collect();
        let mut taken = Vec::new();
        for worker in workers {
            taken.extend(worker.await.unwrap());
        }
        assert_eq!(taken.len(), BATCHES * 3);
        assert_eq!(taken.into_iter().collect::<BTreeSet<_>>().len(), BATCHES * 3);
        assert_eq!(scratch.number("select count(*) from announcements").await, 0);
        assert_eq!(scratch.number("select bytes from announcements_total").await, 0);
    })
    .await;
}

#[tokio::test]
async fn about_a_mebibyte_is_taken_at_once() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        for n in 0..4 {
            let mut large = batch(&format!("{n}-"), 1);
            large[0].payload = format!("\"{}\"", "x".repeat(400 << 10)).into();
            backlog.publish(&large).await.unwrap();
        }
        let mut consumer = backlog.consumer();
        assert_eq!(consumer.receive(1000, DEADLINE).await.unwrap().len(), 2);
        assert_eq!(consumer.receive(1000, DEADLINE).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_says_so_until_there_is_room() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        backlog.publish(&batch("a", 1)).await.unwrap();
        let fill = "update announcements_total set bytes = bytes + (1 << 30) - 1000";
        scratch.meddle(fill).await;
        let failure = backlog.publish(&batch("b", 3)).await.expect_err("it is full");
        assert!(matches!(failure, Failure::Transient(_)), "{failure}");
        assert_eq!(failure.cause().reason, "backlog_full");
        let asked = backlog.publish(&[]).await.expect_err("whoever asks is told as well");
        assert_eq!(asked.cause().reason, "backlog_full");
        assert_eq!(scratch.number("select count(*) from announcements").await, 1);

        let mut consumer = backlog.consumer();
        let deliveries = consumer.receive(10, DEADLINE).await.unwrap();
        consumer.settle(receipts(deliveries)).await.unwrap();
        backlog.publish(&batch("c", 1)).await.unwrap();
        scratch.meddle("update announcements_total set bytes = 0").await;
        backlog.publish(&[]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_arrives_as_an_event_that_says_so() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        backlog.publish(&batch("a", 1)).await.unwrap();
        backlog.publish(&batch("b", 1)).await.unwrap();
        let newest = "where id = (select max(id) from announcements)";
        scratch.meddle(&format!("update announcements set batch = '\\xff' {newest}")).await;
        let deliveries = backlog.consumer().receive(10, DEADLINE).await.unwrap();
        assert_eq!(deliveries.len(), 2);
        assert!(matches!(deliveries[1].events[0].body, Body::Unfit { .. }));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_holds_nobody_up_for_ever() {
    with_store(async |scratch: Scratch| {
        let backlog = scratch.store.backlog();
        let mut consumer = backlog.consumer();
        scratch.store.close().await;
        let outcome = backlog.publish(&batch("a", 1)).await;
        assert!(matches!(outcome, Err(Failure::Transient(_))), "{outcome:?}");
        let outcome = consumer.receive(10, DEADLINE).await;
        assert!(matches!(outcome, Err(Failure::Transient(_))), "{outcome:?}");
        consumer.release().await;
    })
    .await;
}
