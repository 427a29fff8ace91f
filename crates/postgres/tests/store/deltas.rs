//! What a batch adds waits until somebody folds it in: whoever asks sees it, and it counts once.

use std::time::Duration;

use sqlx::Connection as _;
use treehook_event::{Event, EventStore as _, Failure, Hour, ProfileId, Subjects as _};
use treehook_postgres::Store;

use crate::harness::{
    Scratch, at, click, database_url, day, named, of, options, profile, titled, view, visitor_id,
    with_store,
};

const NOON: &str = "2026-11-24T12:00:00Z";
const WAITING: &str = "select count(*) from rollup_deltas";

/// Recorded, and left as it is.
async fn record_only(store: &Store, events: &[Event]) {
    store.record(events, at(NOON)).await.expect("records");
}

/// Clicks of the profile in the hour of noon, as a report sees them.
async fn clicks(store: &Store, of: &ProfileId) -> u64 {
    let from = at(NOON).hour();
    let hours = store.hours(of, from, Hour(from.0 + 1)).await.expect("answers");
    hours.iter().map(|hour| hour.clicks).sum()
}

async fn visitors(store: &Store) -> u64 {
    let from = day("2026-11-24");
    store.profile_visitors(&profile(), from, from.plus(1)).await.expect("answers").count()
}

#[tokio::test]
async fn recording_writes_no_row_that_others_write_and_whoever_asks_sees_it() {
    with_store(async |scratch: Scratch| {
        for n in 0..3 {
            let click = click(&format!("c{n}"), NOON, "l1", n);
            record_only(&scratch.store, &[click, named(&format!("n{n}"), NOON, "ann")]).await;
        }
        assert_eq!(scratch.number(WAITING).await, 3);
        assert_eq!(scratch.number("select count(*) from link_hours").await, 0);
        assert_eq!(clicks(&scratch.store, &profile()).await, 3);
        assert_eq!(scratch.number(WAITING).await, 0);
        assert_eq!(scratch.number("select clicks from link_hours").await, 3);
        // Again adds nothing.
        record_only(&scratch.store, &[click("c1", NOON, "l1", 1)]).await;
        assert_eq!(scratch.number(WAITING).await, 0);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_record_fold_and_ask_at_once_count_everything_once() {
    with_store(async |scratch: Scratch| {
        let mut workers = Vec::new();
        for worker in 0..4_u64 {
            let store = scratch.another();
            workers.push(tokio::spawn(async move {
                for batch in 0..15_u64 {
                    let id = |n: u64| worker * 1_000_000 + batch * 1000 + n;
                    let events: Vec<Event> = (0..20)
                        .map(|n| click(&format!("{}", id(n)), NOON, &format!("l{}", n % 7), id(n)))
                        .collect();
                    record_only(&store, &events).await;
                    match worker {
                        0 => store.catch_up(Duration::ZERO).await.expect("catches up"),
                        // What this worker has recorded is in every answer that it gets afterwards.
                        _ => assert!(clicks(&store, &profile()).await >= (batch + 1) * 20),
                    }
                }
                store.close().await;
            }));
        }
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(clicks(&scratch.store, &profile()).await, 4 * 15 * 20);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_more_unless_somebody_asks_and_for_nobody_who_is_at_it_already() {
    with_store(async |scratch: Scratch| {
        record_only(&scratch.store, &[click("a", NOON, "l1", 1)]).await;
        scratch.store.catch_up(Duration::from_hours(1)).await.unwrap();
        assert_eq!(scratch.number(WAITING).await, 1);
        let mut other = scratch.connection().await;
        let mut folding = other.begin().await.unwrap();
        let lock = "lock table rollup_folding in exclusive mode";
        sqlx::query(lock).execute(&mut *folding).await.unwrap();
        scratch.store.catch_up(Duration::ZERO).await.unwrap();
        assert_eq!(scratch.number(WAITING).await, 1);
        folding.rollback().await.unwrap();
        scratch.store.catch_up(Duration::ZERO).await.unwrap();
        assert_eq!(scratch.number(WAITING).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_added_stands_aside_until_the_archive_is_counted() {
    with_store(async |scratch: Scratch| {
        for n in 0..4 {
            record_only(&scratch.store, &[click(&format!("c{n}"), NOON, "l1", n)]).await;
        }
        let second = "(select min(id) + 1 from rollup_deltas)";
        let damage = format!("update rollup_deltas set delta = '{{}}' where id = {second}");
        assert_eq!(scratch.meddle(&damage).await, 1);
        assert_eq!(clicks(&scratch.store, &profile()).await, 3);
        assert_eq!(scratch.number("select count(*) from rollup_deltas where is_stuck").await, 1);
        record_only(&scratch.store, &[click("c9", NOON, "l1", 9)]).await;
        assert_eq!(clicks(&scratch.store, &profile()).await, 4);
        assert!(!scratch.store.verify(true).await.unwrap().is_empty());
        assert_eq!(scratch.number(WAITING).await, 0);
        assert_eq!(clicks(&scratch.store, &profile()).await, 5);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn what_names_many_profiles_is_folded_in_parts() {
    with_store(async |scratch: Scratch| {
        // Two names each, and one fold has 70,000 to 80,000.
        for batch in 0..10 {
            let event = |n: u64| {
                let n = batch * 5000 + n;
                of(&format!("p{n}"), click(&format!("c{n}"), NOON, &format!("l{n}"), n))
            };
            record_only(&scratch.store, &(0..5000).map(event).collect::<Vec<_>>()).await;
        }
        scratch.store.catch_up(Duration::ZERO).await.unwrap();
        assert_eq!(scratch.number(WAITING).await, 0);
        assert_eq!(scratch.number("select sum(clicks)::bigint from link_days").await, 50_000);
        // Each fold writes in a transaction of its own.
        let folds = scratch.number("select count(distinct xmin::text) from link_days").await;
        assert_eq!(folds, 2);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_records_waits_while_too_much_waits_to_be_folded() {
    with_store(async |scratch: Scratch| {
        let store = &scratch.store;
        let mut other = scratch.connection().await;
        let mut folding = other.begin().await.unwrap();
        let lock = "lock table rollup_folding in exclusive mode";
        sqlx::query(lock).execute(&mut *folding).await.unwrap();
        let much = "insert into rollup_deltas (version, recorded_at, delta)
                    select 2, now(), convert_to(repeat('x', 33 << 20), 'UTF8')";
        assert_eq!(scratch.meddle(much).await, 1);
        store.catch_up(Duration::from_hours(1)).await.unwrap();
        let event = [click("a", NOON, "l1", 1)];
        let soon = Duration::from_millis(300);
        assert!(tokio::time::timeout(soon, store.record(&event, at(NOON))).await.is_err());
        // For a while, since what cannot be folded would keep it waiting for ever.
        assert_eq!(store.record(&event, at(NOON)).await.unwrap().fresh, [0]);
        folding.rollback().await.unwrap();
        store.catch_up(Duration::from_hours(1)).await.unwrap();
        assert_eq!(scratch.number("select count(*) from rollup_deltas where is_stuck").await, 1);
        assert_eq!(store.record(&event, at(NOON)).await.unwrap().duplicates, 1);
        assert_eq!(clicks(store, &profile()).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_to_it() {
    with_store(async |scratch: Scratch| {
        record_only(&scratch.store, &[click("a", NOON, "l1", 1)]).await;
        scratch.meddle("update rollup_deltas set version = version + 1").await;
        record_only(&scratch.store, &[click("b", NOON, "l1", 2)]).await;
        assert_eq!(clicks(&scratch.store, &profile()).await, 1);
        assert_eq!(scratch.number(WAITING).await, 1);
        scratch.meddle("update rollup_deltas set version = version - 1").await;
        assert_eq!(clicks(&scratch.store, &profile()).await, 2);
    })
    .await;
}

#[tokio::test]
async fn whoever_may_only_read_reads_what_others_have_added() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[click("a", NOON, "l1", 1)]).await;
        record_only(&scratch.store, &[click("b", NOON, "l1", 2)]).await;
        let read_only = format!("{}?options[default_transaction_read_only]=on", database_url());
        let standby = Store::connect(&read_only, options(&scratch.schema)).unwrap();
        let asked =
            async |reader: &Store| (clicks(reader, &profile()).await, reader.verify(false).await);
        let (seen, verified) = scratch.as_reader(asked).await;
        let (seen, verified) =
            ([seen, clicks(&standby, &profile()).await], [verified, standby.verify(false).await]);
        assert_eq!(seen, [1, 1]);
        // Who cannot see all of it is told so, and not of differences that are none.
        for verified in verified {
            assert_eq!(verified.unwrap_err().cause().reason, "behind");
        }
        assert_eq!(clicks(&scratch.store, &profile()).await, 2);
        assert_eq!(standby.verify(false).await, Ok(Vec::new()));
        standby.close().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_reads_does_not_wait_for_hours() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[click("a", NOON, "l1", 1)]).await;
        record_only(&scratch.store, &[click("b", NOON, "l1", 2)]).await;
        let mut other = scratch.connection().await;
        let mut repairing = other.begin().await.unwrap();
        let lock = "lock table rollup_folding in exclusive mode";
        sqlx::query(lock).execute(&mut *repairing).await.unwrap();
        assert_eq!(clicks(&scratch.store, &profile()).await, 1);
        repairing.rollback().await.unwrap();
        assert_eq!(clicks(&scratch.store, &profile()).await, 2);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_counted_anew_or_forgotten_beside_what_only_a_newer_version_can_add() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[click("a", NOON, "l1", 1)]).await;
        scratch.meddle("update link_hours set clicks = 7").await;
        record_only(&scratch.store, &[click("b", NOON, "l1", 2)]).await;
        scratch.meddle("update rollup_deltas set version = version + 1").await;
        let reason = |failure: Failure| failure.cause().reason;
        let store = &scratch.store;
        assert_eq!(store.verify(true).await.map_err(reason), Err("behind"));
        assert_eq!(store.erase_profile(&profile()).await.map_err(reason), Err("behind"));
        assert_eq!(store.erase_visitor(visitor_id(2)).await.map_err(reason), Err("behind"));
        scratch.meddle("update rollup_deltas set version = version - 1").await;
        assert_eq!(store.verify(true).await.unwrap().len(), 1);
        assert_eq!(clicks(store, &profile()).await, 2);
    })
    .await;
}

#[tokio::test]
async fn what_waits_of_somebody_who_is_forgotten_does_not_come_back() {
    with_store(async |scratch: Scratch| {
        for n in 0..3 {
            let other = of("p2", click(&format!("o{n}"), NOON, "l1", n));
            let events = [
                click(&format!("c{n}"), NOON, "l1", n),
                view(&format!("v{n}"), NOON, n),
                titled(&format!("t{n}"), NOON, "title"),
                other,
            ];
            record_only(&scratch.store, &events).await;
        }
        assert_eq!(scratch.number(WAITING).await, 3);
        let erased = scratch.store.erase_visitor(visitor_id(1)).await.unwrap();
        assert_eq!(erased.events, 3);
        assert_eq!(visitors(&scratch.store).await, 2);
        assert_eq!(clicks(&scratch.store, &profile()).await, 3);
        scratch.is_sound().await;

        record_only(&scratch.store, &[click("late", NOON, "l1", 7)]).await;
        assert_eq!(scratch.number(WAITING).await, 1);
        scratch.store.erase_profile(&profile()).await.unwrap();
        assert_eq!(clicks(&scratch.store, &profile()).await, 0);
        assert_eq!(clicks(&scratch.store, &ProfileId::trusted("p2")).await, 3);
        assert_eq!(
            scratch.number("select count(*) from profiles where profile_id = 'p1'").await,
            0
        );
        scratch.is_sound().await;
    })
    .await;
}
