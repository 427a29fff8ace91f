//! Verifying finds what was tampered with, and repair mends it.

use std::collections::BTreeSet;

use treehook_event::{Event, EventStore as _};

use crate::harness::{Scratch, click, named, telling, titled, view, with_store};

const NOON: &str = "2026-11-24T12:00:00Z";

/// A day of visits and changes, the link of one click told by the click itself.
fn a_day() -> Vec<Event> {
    let mut events: Vec<Event> = (0..300)
        .map(|n| {
            let time = format!("2026-11-24T{:02}:{:02}:00Z", n % 24, n % 60);
            match n % 3 {
                0 => view(&format!("v{n}"), &time, n),
                _ => click(&format!("c{n}"), &time, &format!("l{}", n % 4), n),
            }
        })
        .collect();
    events.push(telling("telling", NOON, "l9", 7));
    events.push(titled("t2", "2026-11-24T12:00:01Z", "new"));
    events.push(titled("t1", NOON, "old"));
    events.push(named("n1", NOON, "ann"));
    events
}

#[tokio::test]
async fn whatever_was_tampered_with_is_found_and_mended() {
    with_store(async |scratch: Scratch| {
        scratch.record(&a_day()).await;
        scratch.is_sound().await;
        for (statement, rollup) in [
            ("update link_hours set clicks = clicks + 1 where link_id = 'l1'", "link_hours"),
            ("delete from link_hours where link_id = 'l2'", "link_hours"),
            ("insert into link_hours values ('p1', '2026-11-24T00:00Z', 'none', 5)", "link_hours"),
            ("update link_days set clicks = clicks + 1 where link_id = 'l1'", "link_days"),
            ("delete from link_days where link_id = 'l2'", "link_days"),
            ("insert into link_days values ('p1', '2026-11-24', 'none', 5)", "link_days"),
            ("update profile_hours set views = 0", "profile_hours"),
            ("update profile_hours set clicks = 99", "profile_hours"),
            ("delete from profile_hours", "profile_hours"),
            ("update audience set clicks = 1 where dimension = 'country'", "audience"),
            ("insert into audience values ('p1', '2026-11-24', 'device', 'pager', 5)", "audience"),
            ("delete from profile_visitors", "profile_visitors"),
            ("update profile_visitors set sketch = '\\x00'", "profile_visitors"),
            ("update link_visitors set sketch = (select sketch from profile_visitors)", "link_visitors"),
            ("insert into link_visitors select profile_id, day, 'none', sketch from profile_visitors", "link_visitors"),
            ("update links set state = '{}' where link_id = 'l1'", "links"),
            ("delete from links where link_id = 'l9'", "links"),
            ("insert into links values ('p1', 'none', '{}')", "links"),
            ("update profiles set state = '[]'", "profiles"),
            ("delete from profiles", "profiles"),
            ("insert into profiles values ('p0', '{}')", "profiles"),
        ] {
            assert!(scratch.meddle(statement).await > 0, "{statement}");
            let found = scratch.store.verify(false).await.unwrap();
            let rollups: BTreeSet<&str> = found.iter().map(|difference| difference.rollup).collect();
            assert_eq!(rollups, BTreeSet::from([rollup]), "{statement}");
            let mended = scratch.store.verify(true).await.unwrap();
            assert_eq!(mended, found, "{statement}");
            scratch.is_sound().await;
        }
    })
    .await;
}

#[tokio::test]
async fn differences_say_what_and_where() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[click("a", NOON, "l1", 1)]).await;
        scratch.meddle("update link_hours set clicks = 3").await;
        scratch.meddle("delete from link_visitors").await;
        let found = scratch.store.verify(false).await.unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|found| (found.key.as_str(), found.archive.as_str(), found.stored.as_str()))
            .collect();
        assert_eq!(
            told,
            [("p1/l1 2026-11-24T12:00Z", "1", "3"), ("p1/l1 2026-11-24", "1 visitors", "nothing")]
        );
    })
    .await;
}

#[tokio::test]
async fn many_rows_are_retold_chunk_by_chunk() {
    with_store(async |scratch: Scratch| {
        let clicks: Vec<Event> =
            (0..2500).map(|n| click(&format!("{n}"), NOON, &format!("l{}", n % 900), n)).collect();
        scratch.record(&clicks).await;
        scratch.is_sound().await;
        scratch
            .meddle("update link_visitors set sketch = (select sketch from profile_visitors)")
            .await;
        let mended = scratch.store.verify(true).await.unwrap();
        assert_eq!(mended.len(), 900);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_and_repairing_are_consistent_while_workers_go_on() {
    with_store(async |scratch: Scratch| {
        scratch.record(&a_day()).await;
        let worker = {
            let store = scratch.another();
            tokio::spawn(async move {
                for batch in 0..60_u64 {
                    let clicks: Vec<Event> = (0..20)
                        .map(|n| {
                            let id = batch * 20 + n;
                            click(&format!("w{id}"), NOON, &format!("l{}", n % 5), id)
                        })
                        .collect();
                    let recorded = store.record(&clicks, crate::harness::at(NOON)).await;
                    recorded.expect("records");
                }
            })
        };
        while !worker.is_finished() {
            scratch.is_sound().await;
            scratch
                .meddle("insert into audience values ('p0', '2026-11-24', 'device', 'x', 1)")
                .await;
            assert_eq!(scratch.store.verify(true).await.unwrap().len(), 1);
        }
        worker.await.unwrap();
        scratch.is_sound().await;
    })
    .await;
}
