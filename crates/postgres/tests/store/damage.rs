//! Rows that cannot be read: they stop no batch, are found whatever the archive holds, and are mended.

use std::collections::BTreeSet;

use treehook_event::{Event, EventStore as _};

use crate::harness::{Scratch, at, click, day, named, profile, telling, titled, view, with_store};

const NOON: &str = "2026-11-24T12:00:00Z";
const OLD: &str = "2026-01-02T12:00:00Z";
const DAMAGE: [(&str, &str); 4] = [
    ("update profile_visitors set sketch = '\\x00'", "profile_visitors"),
    ("update link_visitors set sketch = '\\x0badc0de'", "link_visitors"),
    ("update profiles set state = '{\"username\": 7}'", "profiles"),
    ("update links set state = '\"damaged\"'", "links"),
];

/// One of everything on one link.
fn batch(round: u64, time: &str) -> Vec<Event> {
    let id = |kind: &str| format!("{kind}{round}");
    vec![
        click(&id("c"), time, "l1", round),
        view(&id("v"), time, round + 100),
        telling(&id("t"), time, "l1", round),
        titled(&id("l"), time, &id("title")),
        named(&id("n"), time, &id("name")),
    ]
}

#[tokio::test]
async fn a_batch_that_comes_to_a_damaged_row_has_it_rebuilt_from_the_archive() {
    with_store(async |scratch: Scratch| {
        for round in 0..5 {
            scratch.record(&batch(round, NOON)).await;
        }
        for (round, (statement, _)) in (5..).zip(DAMAGE) {
            assert!(scratch.meddle(statement).await > 0, "{statement}");
            assert_eq!(scratch.record(&batch(round, NOON)).await.fresh.len(), 5, "{statement}");
            scratch.is_sound().await;
        }
        let from = day("2026-11-24");
        let visitors = scratch.store.profile_visitors(&profile(), from, from.plus(1)).await;
        assert_eq!(visitors.unwrap().count(), 18);
    })
    .await;
}

#[tokio::test]
async fn a_batch_goes_on_alone_when_the_archive_cannot_be_read_either() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[titled("a", NOON, "old"), click("b", NOON, "l1", 1)]).await;
        scratch.meddle("update links set state = '\"damaged\"'").await;
        scratch.meddle("update events set detail = '?' where detail is not null").await;
        scratch.record(&[titled("c", "2026-11-24T13:00:00Z", "new")]).await;
        let (from, to) = (at(NOON).hour(), at(NOON).hour());
        let links = scratch.store.link_totals(&profile(), from, to).await.unwrap();
        assert_eq!(links[0].state.title.as_ref().unwrap().value, "new");
    })
    .await;
}

#[tokio::test]
async fn what_is_older_than_the_archive_is_found_and_replaced_by_what_is_left_to_tell() {
    with_store(async |scratch: Scratch| {
        scratch.record(&batch(0, OLD)).await;
        scratch.record(&batch(1, NOON)).await;
        assert!(scratch.store.maintain(at(NOON), 10).await.unwrap().days_dropped > 0);
        scratch.is_sound().await;
        for (statement, rollup) in DAMAGE {
            let rows = scratch.meddle(statement).await;
            assert!(rows > 0, "{statement}");
            let found = scratch.store.verify(false).await.unwrap();
            assert_eq!(found.len() as u64, rows, "{found:?}");
            let rollups: BTreeSet<&str> = found.iter().map(|found| found.rollup).collect();
            assert_eq!(rollups, BTreeSet::from([rollup]));
            assert!(found.iter().all(|found| found.stored == "unreadable"), "{found:?}");
            assert_eq!(scratch.store.verify(true).await.unwrap(), found);
            scratch.is_sound().await;
        }
        // The archive still tells of the later day.
        let (from, to) = (at(NOON).hour(), at(NOON).hour());
        let links = scratch.store.link_totals(&profile(), from, to).await.unwrap();
        assert_eq!(links[0].state.title.as_ref().unwrap().value, "title1");
        let summary = scratch.store.profile(&profile()).await.unwrap().unwrap();
        assert_eq!(summary.state.username.unwrap().value, "name1");
        let visitors = async |iso: &str| {
            let (id, from) = (profile(), day(iso));
            scratch.store.profile_visitors(&id, from, from.plus(1)).await.unwrap().count()
        };
        assert_eq!([visitors("2026-01-02").await, visitors("2026-11-24").await], [0, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_profile_that_nothing_tells_of_any_more_keeps_its_place() {
    with_store(async |scratch: Scratch| {
        scratch.record(&batch(0, OLD)).await;
        scratch.store.maintain(at(NOON), 10).await.unwrap();
        scratch.meddle("update profiles set state = '7'").await;
        assert_eq!(scratch.store.verify(true).await.unwrap().len(), 1);
        let summary = scratch.store.profile(&profile()).await.unwrap().expect("it is still listed");
        assert!(summary.state.is_blank());
        assert_eq!(scratch.number("select sum(clicks)::bigint from profile_hours").await, 2);
        scratch.is_sound().await;
    })
    .await;
}
