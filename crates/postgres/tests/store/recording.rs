//! Recording from many workers at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tokio::sync::Barrier;
use treehook_event::{Body, Event, EventStore as _, Failure, Recorded};
use treehook_postgres::{Store, StoreOptions};

use crate::harness::{
    Scratch, at, click, database_url, day, event, milestone, options, profile, view, with_store,
};

const NOON: &str = "2026-11-24T12:00:00Z";

/// Two workers record two batches at the same moment.
async fn at_once(stores: [&Store; 2], batches: [Vec<Event>; 2]) -> [Recorded; 2] {
    let barrier = Arc::new(Barrier::new(2));
    let [one, two] = [0, 1].map(|n| {
        let (store, batch, barrier) = (stores[n].clone(), batches[n].clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            // No retry: a deadlock would be a failure here.
            store.record(&batch, at(NOON)).await.expect("records")
        })
    });
    [one.await.expect("ends"), two.await.expect("ends")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_ids_in_opposite_orders_count_once_and_nobody_waits_in_a_circle() {
    const ROUNDS: u64 = 40;
    const EVENTS: u64 = 30;
    with_store(async |scratch: Scratch| {
        let other = scratch.another();
        for round in 0..ROUNDS {
            let batch: Vec<Event> = (0..EVENTS)
                .map(|n| {
                    let (id, hour) = (format!("e{round}-{n}"), n % 12 + 6);
                    let time = format!("2026-11-{:02}T{hour:02}:00:00Z", 20 + n % 4);
                    click(&id, &time, &format!("l{}", n % 7), round * EVENTS + n)
                })
                .collect();
            let mut reversed = batch.clone();
            reversed.reverse();
            let [one, two] = at_once([&scratch.store, &other], [batch, reversed]).await;
            assert_eq!(one.fresh.len() + two.fresh.len(), 30);
            assert_eq!(one.duplicates + two.duplicates, EVENTS);
        }
        let tally = scratch.store.tally().await.unwrap();
        assert_eq!((tally.applied, tally.duplicates), (ROUNDS * EVENTS, ROUNDS * EVENTS));
        scratch.is_sound().await;
    })
    .await;
}

/// As many batches without a duplicate as make a worker copy the next one without a look, and more.
const CALM: u64 = 12;
/// Events that are copied rather than inserted.
const COPIED: u64 = 150;

fn copied(name: &str) -> Vec<Event> {
    let hour = |n| format!("2026-11-{}T{:02}:00:00Z", 23 + n % 2, n % 12 + 6);
    (0..COPIED).map(|n| click(&format!("{name}-{n}"), &hour(n), "l1", n)).collect()
}

#[tokio::test]
async fn duplicates_are_found_in_a_batch_that_nobody_looked_up() {
    with_store(async |scratch: Scratch| {
        for time in 0..2 {
            for batch in 0..CALM {
                let recorded = scratch.record(&copied(&format!("{time}-{batch}"))).await;
                assert_eq!((recorded.fresh.len() as u64, recorded.duplicates), (COPIED, 0));
            }
            let mut mixed = copied(&format!("mixed-{time}"));
            mixed[7] = copied(&format!("{time}-3")).swap_remove(9);
            for (fresh, duplicates) in [(COPIED - 1, 1), (0, COPIED)] {
                let recorded = scratch.record(&mixed).await;
                assert_eq!((recorded.fresh.len() as u64, recorded.duplicates), (fresh, duplicates));
                assert!(!recorded.fresh.contains(&7));
            }
        }
        let tally = scratch.store.tally().await.unwrap();
        assert_eq!(
            (tally.applied, tally.duplicates),
            (2 * (CALM + 1) * COPIED - 2, 2 * (COPIED + 1))
        );
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_dropped_within_its_copy_spoils_nothing_for_the_next() {
    with_store(async |scratch: Scratch| {
        let options = StoreOptions { connections: 1, ..options(&scratch.schema) };
        let store = Store::connect(&database_url(), options).unwrap();
        let few = |name: &str| copied(name).into_iter().take(20).collect::<Vec<_>>();
        store.record(&few("first"), at(NOON)).await.unwrap();
        let batch = copied("dropped");
        // Somebody else archives one of them and does not commit: the copy waits for it.
        let mut other = scratch.connection().await;
        let mut transaction = other.begin().await.unwrap();
        sqlx::query(
            "insert into events (day, key, source, type, occurred_at, received_at, applied_at, payload)
             values ('2026-11-23', $1, 'linktree', 'link.clicked', now(), now(), now(), '')",
        )
        .bind(batch[0].key().0.to_vec())
        .execute(&mut *transaction)
        .await
        .unwrap();
        let task = tokio::spawn({
            let (store, batch) = (store.clone(), batch.clone());
            async move { store.record(&batch, at(NOON)).await }
        });
        let waits = format!(
            "select count(*) from pg_locks l join pg_stat_activity a using (pid)
             where not l.granted and a.query like '%copy events%'
             and pg_blocking_pids(a.pid) @> array[{}]",
            sqlx::query_scalar::<_, i32>("select pg_backend_pid()")
                .fetch_one(&mut *transaction)
                .await
                .unwrap()
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while scratch.number(&waits).await == 0 {
            assert!(Instant::now() < deadline, "the copy does not wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        transaction.rollback().await.unwrap();
        for name in ["second", "third", "fourth"] {
            let recorded = store.record(&few(name), at(NOON)).await.unwrap();
            assert_eq!((recorded.fresh.len(), recorded.duplicates), (20, 0), "{name}");
        }
        let recorded = store.record(&batch, at(NOON)).await.unwrap();
        assert_eq!((recorded.fresh.len() as u64, recorded.duplicates), (COPIED, 0));
        assert_eq!(scratch.number("select count(*) from events").await, 4 * 20 + 150);
        store.close().await;
        scratch.store.catch_up(Duration::ZERO).await.unwrap();
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_copy_the_same_events_in_opposite_orders_and_each_counts_once() {
    with_store(async |scratch: Scratch| {
        let other = scratch.another();
        for contest in 0..4 {
            for batch in 0..CALM {
                let [one, two] =
                    [1, 2].map(|worker| copied(&format!("{contest}-{batch}-{worker}")));
                let recorded = at_once([&scratch.store, &other], [one, two]).await;
                assert_eq!(recorded.map(|recorded| recorded.duplicates), [0, 0]);
            }
            let mut batches =
                [copied(&format!("{contest}-same")), copied(&format!("{contest}-same"))];
            batches[1].reverse();
            let [one, two] = at_once([&scratch.store, &other], batches).await;
            assert_eq!((one.fresh.len() + two.fresh.len()) as u64, COPIED);
            assert_eq!(one.duplicates + two.duplicates, COPIED);
        }
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_who_bring_the_same_new_sketch_keep_each_others_visitors() {
    with_store(async |scratch: Scratch| {
        let other = scratch.another();
        for round in 0..20_u64 {
            let time = format!("2026-10-{:02}T12:00:00Z", round + 1);
            let clicks = |worker: u64| -> Vec<Event> {
                (0..5)
                    .map(|n| {
                        let visitor = round * 100 + worker * 10 + n;
                        click(&format!("{visitor}"), &time, "l1", visitor)
                    })
                    .collect()
            };
            at_once([&scratch.store, &other], [clicks(1), clicks(2)]).await;
            let from = at(&time).day();
            let store = &scratch.store;
            let visitors = store.profile_visitors(&profile(), from, from.plus(1)).await.unwrap();
            assert_eq!(visitors.count(), 10, "round {round}");
            let links = store.link_visitors(&profile(), from, from.plus(1)).await.unwrap();
            assert_eq!(links[0].1.count(), 10, "round {round}");
        }
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_id_twice_in_a_batch_counts_once() {
    with_store(async |scratch: Scratch| {
        let batch = [
            click("a", NOON, "l1", 1),
            click("a", NOON, "l1", 1),
            view("b", NOON, 1),
            click("a", "2026-11-24T13:00:00Z", "l1", 1),
        ];
        let recorded = scratch.record(&batch).await;
        assert_eq!(recorded, Recorded { fresh: vec![0, 2], duplicates: 2 });
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn an_identity_is_found_on_its_day_and_across_midnight_if_it_is_near() {
    with_store(async |scratch: Scratch| {
        for (id, first, again, fresh) in [
            ("same day", "2026-11-24T01:00:00Z", "2026-11-24T22:00:00Z", false),
            ("after midnight", "2026-11-23T23:50:00Z", "2026-11-24T00:10:00Z", false),
            ("before midnight", "2026-11-24T00:10:00Z", "2026-11-23T23:50:00Z", false),
            ("far apart", "2026-11-22T12:00:00Z", "2026-11-23T12:00:00Z", true),
        ] {
            assert_eq!(scratch.record(&[click(id, first, "l1", 1)]).await.fresh, vec![0], "{id}");
            let recorded = scratch.record(&[click(id, again, "l1", 1)]).await;
            assert_eq!(recorded.fresh.len(), usize::from(fresh), "{id}");
        }
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn a_value_that_the_database_refuses_is_the_events_own_fault() {
    with_store(async |scratch: Scratch| {
        let mut poison =
            event("a", NOON, Body::Unknown { event_type: treehook_event::EventType::trusted("x") });
        poison.payload = "\0".into();
        let outcome = scratch.store.record(&[poison, view("b", NOON, 1)], at(NOON)).await;
        assert!(matches!(outcome, Err(Failure::Poison(_))), "{outcome:?}");
        // All or nothing: the neighbour comes again on its own.
        assert_eq!(scratch.record(&[view("b", NOON, 1)]).await.fresh, vec![0]);
    })
    .await;
}

#[tokio::test]
async fn milestones_and_visitors_are_there_for_reports() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[milestone("m1", NOON), milestone("m2", "2026-11-24T13:00:00Z")]).await;
        let milestones = scratch.store.milestones(&profile(), 10).await.unwrap();
        let times: Vec<_> = milestones.iter().map(|row| row.at).collect();
        assert_eq!(times, [at("2026-11-24T13:00:00Z"), at(NOON)]);
        assert!(scratch.store.profile(&profile()).await.unwrap().is_some());
        let (from, to) = (day("2026-11-24"), day("2026-11-25"));
        let nobody = scratch.store.profile_visitors(&profile(), from, to).await.unwrap();
        assert_eq!(nobody.count(), 0);
    })
    .await;
}
