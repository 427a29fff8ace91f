//! Forgetting a person, and what must hold before and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use treehook_event::{
    Body, DeadFilter, DeadLetter, Erased, Event, EventStore as _, EventType, Hour, ProfileId,
    Subjects as _,
};

use crate::harness::{
    Scratch, at, click, day, milestone, named, of, profile, telling, titled, view, visitor_id,
    with_store,
};

const NOON: &str = "2026-11-24T12:00:00Z";
const DAYS: [&str; 3] = ["2026-11-22T12:00:00Z", "2026-11-23T12:00:00Z", NOON];

/// Three days of two profiles, each with three visitors and one of everything.
fn days() -> Vec<Event> {
    let mut events = Vec::new();
    for (n, time) in DAYS.into_iter().enumerate() {
        for profile in ["p1", "p2"] {
            let id = |kind: &str| format!("{kind}-{profile}-{n}");
            for visitor in 1..=3 {
                let id = |kind: &str| format!("{}-{visitor}", id(kind));
                events.push(of(profile, click(&id("c"), time, "l1", visitor)));
                events.push(of(profile, view(&id("v"), time, visitor)));
            }
            events.push(of(profile, telling(&id("t"), time, "l1", 1)));
            events.push(of(profile, titled(&id("l"), time, "a \"title\"")));
            events.push(of(profile, named(&id("n"), time, "a name")));
            events.push(of(profile, milestone(&id("m"), time)));
        }
    }
    events
}

async fn bury(scratch: &Scratch, events: &[Event]) {
    let letters: Vec<_> =
        events.iter().map(|event| DeadLetter::of(event, "expired", at(NOON))).collect();
    scratch.store.bury(&letters).await.expect("buries");
}

/// Identities of the dead letters that are left.
async fn buried(scratch: &Scratch) -> Vec<String> {
    let all = DeadFilter { limit: 100, ..DeadFilter::default() };
    let letters = scratch.store.dead_letters(&all).await.expect("lists");
    let mut left: Vec<_> = letters.iter().map(|letter| letter.identity.to_string()).collect();
    left.sort_unstable();
    left
}

async fn visitors(scratch: &Scratch, of: &str) -> u64 {
    let (from, to) = (day("2026-01-01"), day("2026-12-31"));
    let visitors = scratch.store.profile_visitors(&ProfileId::trusted(of), from, to).await;
    visitors.expect("counts").count()
}

/// Neither verifying nor repairing finds anything.
async fn is_sound_and_stays_so(scratch: &Scratch) {
    scratch.is_sound().await;
    assert_eq!(scratch.store.verify(true).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_visitor_is_forgotten_over_days_and_profiles_and_every_visit_still_counts() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        bury(
            &scratch,
            &[click("d1", NOON, "l1", 1), click("d2", NOON, "l1", 2), titled("d3", NOON, "x")],
        )
        .await;
        let erased = scratch.store.erase_visitor(visitor_id(1)).await.unwrap();
        // Two clicks and a view a day; the sketches of two profiles and their one link.
        let expected = Erased { events: 18, sketches: 12, sketches_kept: 0, dead_letters: 1 };
        assert_eq!(erased, expected);
        assert_eq!([visitors(&scratch, "p1").await, visitors(&scratch, "p2").await], [2, 2]);
        assert_eq!(scratch.number("select sum(clicks)::bigint from profile_hours").await, 24);
        assert_eq!(buried(&scratch).await, ["d2", "d3"]);
        let pseudonym = format!("{:016x}", visitor_id(1).0);
        let left = format!("select count(*) from events where events::text like '%{pseudonym}%'");
        assert_eq!(scratch.number(&left).await, 0);
        is_sound_and_stays_so(&scratch).await;
        assert_eq!(visitors(&scratch, "p1").await, 2);

        assert_eq!(scratch.store.erase_visitor(visitor_id(1)).await, Ok(Erased::default()));
        assert_eq!(scratch.record(&days()).await.fresh, Vec::<usize>::new());
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test]
async fn the_only_visitor_of_a_day_leaves_nobody_behind() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[click("a", NOON, "l1", 1), view("b", NOON, 1)]).await;
        let erased = scratch.store.erase_visitor(visitor_id(1)).await.unwrap();
        assert_eq!((erased.events, erased.sketches), (2, 2));
        assert_eq!(visitors(&scratch, "p1").await, 0);
        is_sound_and_stays_so(&scratch).await;
        // Who comes again is counted again.
        scratch.record(&[click("c", NOON, "l1", 1)]).await;
        assert_eq!(visitors(&scratch, "p1").await, 1);
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test]
async fn a_visitor_of_many_events_is_forgotten_step_by_step() {
    with_store(async |scratch: Scratch| {
        let busy: Vec<Event> =
            (0..2300).map(|n| click(&format!("{n}"), NOON, &format!("l{}", n % 3), 1)).collect();
        scratch.record(&busy).await;
        scratch.record(&[click("other", NOON, "l1", 2)]).await;
        assert_eq!(scratch.store.erase_visitor(visitor_id(1)).await.unwrap().events, 2300);
        assert_eq!(visitors(&scratch, "p1").await, 1);
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test]
async fn sketches_older_than_the_archive_are_kept_and_said_so() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        // The archive keeps the last day alone, and a late event of the first.
        scratch.store.maintain(at(NOON), 0).await.unwrap();
        scratch.record(&[view("late", DAYS[0], 1)]).await;
        let erased = scratch.store.erase_visitor(visitor_id(1)).await.unwrap();
        // Two days of two profiles and their links; the late event's sketch cannot be rebuilt.
        let expected = Erased { events: 7, sketches: 4, sketches_kept: 8, dead_letters: 0 };
        assert_eq!(erased, expected);
        assert_eq!(visitors(&scratch, "p1").await, 3);
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test]
async fn a_profile_is_forgotten_and_a_retried_delivery_does_not_bring_it_back() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        let unknown = |id: &str, payload: &str| Event {
            body: Body::Unknown { event_type: EventType::trusted("lead.created") },
            payload: payload.into(),
            ..milestone(id, DAYS[1])
        };
        let others = unknown("u2", r#"{"link":{"workspaceId":"p10"}}"#);
        scratch.record(&[unknown("u1", r#"{"link":{"workspaceId":"p1"}}"#), others]).await;
        let letters = [
            click("d1", NOON, "l1", 1),
            titled("d2", NOON, "x"),
            named("d3", NOON, "x"),
            of("p10", click("d4", NOON, "l1", 1)),
            of("p2", named("d5", NOON, "p1/")),
        ];
        bury(&scratch, &letters).await;
        let erased = scratch.store.erase_profile(&profile()).await.unwrap();
        let expected = Erased { events: 31, sketches: 6, sketches_kept: 0, dead_letters: 3 };
        assert_eq!(erased, expected);
        assert_eq!(
            scratch.number("select count(*) from events where payload like '%workspaceId%'").await,
            1
        );
        assert_eq!(buried(&scratch).await, ["d4", "d5"]);
        is_gone(&scratch).await;
        is_sound_and_stays_so(&scratch).await;
        is_gone(&scratch).await;
        // The other one is as it was.
        assert_eq!(visitors(&scratch, "p2").await, 3);
        assert_eq!(scratch.number("select count(*) from milestones").await, 3);

        assert_eq!(scratch.store.erase_profile(&profile()).await, Ok(Erased::default()));
        assert_eq!(scratch.record(&days()).await.fresh, Vec::<usize>::new());
        is_gone(&scratch).await;
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

/// Nothing names profile `p1`.
async fn is_gone(scratch: &Scratch) {
    assert_eq!(scratch.store.profile(&profile()).await, Ok(None));
    assert_eq!(scratch.store.history(&profile(), None, 10).await, Ok(Vec::new()));
    let ever = (Hour(0), Hour(10_000_000));
    assert_eq!(scratch.store.link_totals(&profile(), ever.0, ever.1).await, Ok(Vec::new()));
    for table in [
        "events",
        "link_hours",
        "link_days",
        "profile_hours",
        "audience",
        "profile_visitors",
        "link_visitors",
        "profiles",
        "links",
        "milestones",
    ] {
        let count = format!("select count(*) from {table} where profile_id = 'p1'");
        assert_eq!(scratch.number(&count).await, 0, "{table}");
    }
    // One of a type that nobody knows is somebody else's.
    let told = "select count(*) from events where profile_id is null and strpos(payload, 'p10') = 0
         and (identity is not null or visitor is not null or payload <> '{}')";
    assert_eq!(scratch.number(told).await, 0);
}

#[tokio::test]
async fn a_profile_is_forgotten_where_its_archive_is_gone_and_what_drifted_with_it() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        scratch.store.maintain(at(NOON), 0).await.unwrap();
        scratch
            .meddle("insert into link_hours values ('p1', '2026-11-24T01:00Z', 'none', 5)")
            .await;
        let erased = scratch.store.erase_profile(&profile()).await.unwrap();
        assert_eq!((erased.events, erased.sketches), (10, 6));
        is_gone(&scratch).await;
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test]
async fn an_id_with_quotes_is_found_in_dead_letters() {
    with_store(async |scratch: Scratch| {
        let quoted = "p\"\\1";
        bury(&scratch, &[of(quoted, view("d1", NOON, 1)), view("d2", NOON, 1)]).await;
        let erased = scratch.store.erase_profile(&ProfileId::trusted(quoted)).await.unwrap();
        assert_eq!(erased.dead_letters, 1);
        assert_eq!(buried(&scratch).await, ["d2"]);
    })
    .await;
}

/// Somebody records visits and changes of `p1` by visitors 1 to 4 until told to stop.
fn busy(scratch: &Scratch) -> (Arc<AtomicBool>, Vec<tokio::task::JoinHandle<u64>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let workers = (0..2).map(|worker| {
        let (store, stop) = (scratch.another(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut round = 0;
            let mut days = DAYS.into_iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                let id = |kind: &str| format!("{kind}{worker}-{round}");
                let time = days.next().expect("a cycle has no end");
                let batch = [
                    click(&id("c"), time, &format!("l{}", round % 5), round % 4 + 1),
                    view(&id("v"), time, round % 4 + 1),
                    telling(&id("t"), time, "l1", round % 4 + 1),
                    titled(&id("l"), time, &id("title")),
                    milestone(&id("m"), time),
                ];
                // No retry: whoever forgets must not make a batch fail.
                store.record(&batch, at(NOON)).await.expect("records");
                round += 1;
            }
            round
        })
    });
    let workers = workers.collect();
    (stop, workers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_is_exact_while_workers_record() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        let (stop, workers) = busy(&scratch);
        for _ in 0..8 {
            assert!(scratch.store.erase_visitor(visitor_id(1)).await.is_ok());
            scratch.is_sound().await;
            assert!(scratch.store.erase_profile(&profile()).await.is_ok());
            scratch.is_sound().await;
        }
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            assert!(worker.await.unwrap() > 0);
        }
        is_sound_and_stays_so(&scratch).await;
        scratch.store.erase_visitor(visitor_id(1)).await.unwrap();
        assert!(visitors(&scratch, "p1").await <= 3);
        scratch.store.erase_profile(&profile()).await.unwrap();
        is_gone(&scratch).await;
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_may_forget_the_same_person_at_once() {
    with_store(async |scratch: Scratch| {
        scratch.record(&days()).await;
        let (one, two) = (scratch.another(), scratch.another());
        let outcomes =
            tokio::join!(one.erase_visitor(visitor_id(1)), two.erase_visitor(visitor_id(1)),);
        assert_eq!(outcomes.0.unwrap().events + outcomes.1.unwrap().events, 18);
        is_sound_and_stays_so(&scratch).await;
        let id = profile();
        let outcomes = tokio::join!(one.erase_profile(&id), two.erase_profile(&id));
        assert_eq!(outcomes.0.unwrap().events + outcomes.1.unwrap().events, 30);
        is_gone(&scratch).await;
        is_sound_and_stays_so(&scratch).await;
    })
    .await;
}
