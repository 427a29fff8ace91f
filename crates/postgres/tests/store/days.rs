//! The archive's days: made ahead, made on demand, dropped.

use sqlx::Connection as _;
use treehook_event::{EventStore as _, Maintained};

use crate::harness::{Scratch, at, click, view, with_store};

const NOW: &str = "2026-11-24T12:00:00Z";

#[tokio::test]
async fn a_late_event_has_its_day_made_on_demand() {
    with_store(async |scratch: Scratch| {
        assert_eq!(scratch.days().await, Vec::<String>::new());
        scratch.record(&[view("a", "2026-01-02T03:04:05Z", 1), view("b", NOW, 1)]).await;
        assert_eq!(scratch.days().await, ["20260102", "20261124"]);
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_may_need_the_same_new_day_at_once() {
    with_store(async |scratch: Scratch| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let store = scratch.another();
                tokio::spawn(async move {
                    for day in 1..=10 {
                        let time = format!("2026-03-{day:02}T12:00:00Z");
                        let event = view(&format!("{worker}-{day}"), &time, worker);
                        store.record(&[event], at(NOW)).await.expect("records");
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(scratch.days().await.len(), 10);
        assert_eq!(scratch.store.tally().await.unwrap().applied, 60);
    })
    .await;
}

#[tokio::test]
async fn a_day_that_somebody_dropped_is_made_again() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[view("a", NOW, 1)]).await;
        scratch.meddle("drop table events_20261124").await;
        assert_eq!(scratch.record(&[view("b", NOW, 1)]).await.fresh, vec![0]);
        assert_eq!(scratch.days().await, ["20261124"]);
    })
    .await;
}

#[tokio::test]
async fn upkeep_makes_a_week_ahead_and_drops_what_is_past_retention_at_the_edge_of_a_day() {
    with_store(async |scratch: Scratch| {
        // Ten days of retention: the 14th is kept to its first moment, the 13th is gone.
        scratch
            .record(&[
                click("gone", "2026-11-12T12:00:00Z", "l1", 1),
                click("gone too", "2026-11-13T23:59:59.999Z", "l1", 2),
                click("kept", "2026-11-14T00:00:00Z", "l1", 3),
            ])
            .await;
        let done = scratch.store.maintain(at("2026-11-24T23:59:59.999Z"), 10).await.unwrap();
        assert_eq!(done, Maintained { days_dropped: 2 });
        let days = scratch.days().await;
        assert_eq!(days.first().map(String::as_str), Some("20261114"));
        assert_eq!(days.last().map(String::as_str), Some("20261201"));
        assert_eq!(days.len(), 1 + 8);
        // The rollups of dropped days stay, and verifying does not miss their events.
        assert_eq!(scratch.number("select sum(clicks)::bigint from profile_hours").await, 3);
        scratch.is_sound().await;

        let done = scratch.store.maintain(at("2026-11-25T00:00:00Z"), 10).await.unwrap();
        assert_eq!(done, Maintained { days_dropped: 1 });
        assert!(!scratch.days().await.contains(&"20261114".to_owned()));
        scratch.is_sound().await;
    })
    .await;
}

#[tokio::test]
async fn upkeep_does_not_hold_up_workers_while_somebody_reads_the_archive() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[view("old", "2026-01-02T12:00:00Z", 1)]).await;
        let mut reader = scratch.connection().await;
        let mut reading = reader.begin().await.unwrap();
        sqlx::query("select count(*) from events").execute(&mut *reading).await.unwrap();
        // Making days needs no lock that the reader has; dropping one is left for later.
        let done = scratch.store.maintain(at(NOW), 10).await.unwrap();
        assert_eq!(done, Maintained { days_dropped: 0 });
        scratch.record(&[view("late", "2026-02-03T12:00:00Z", 1)]).await;
        reading.rollback().await.unwrap();
        let done = scratch.store.maintain(at(NOW), 10).await.unwrap();
        assert_eq!(done, Maintained { days_dropped: 2 });
    })
    .await;
}

#[tokio::test]
async fn tallies_of_gone_processes_are_folded_and_nothing_is_lost() {
    with_store(async |scratch: Scratch| {
        for n in 0..3 {
            let gone = scratch.another();
            gone.record(&[view(&format!("{n}"), NOW, 1)], at(NOW)).await.unwrap();
            gone.close().await;
        }
        assert_eq!(scratch.number("select count(*) from tallies").await, 3);
        let before = scratch.store.tally().await.unwrap();
        for now in ["2026-11-24T13:00:00Z", "2026-11-26T13:00:00Z", "2026-11-28T13:00:00Z"] {
            scratch.store.maintain(at(now), 400).await.unwrap();
            assert_eq!(scratch.store.tally().await.unwrap(), before);
        }
        assert_eq!(scratch.number("select count(*) from tallies").await, 1);
        assert_eq!((before.applied, before.newest_event), (3, Some(at(NOW))));
    })
    .await;
}
