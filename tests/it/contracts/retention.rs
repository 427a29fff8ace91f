//! What both stores forget, and what they do not: days at their edges, and persons across them.

use treehook_event::{Day, DeadFilter, DeadLetter, EventStore, Subjects, VisitorId};

use crate::fixtures::{DAY, NOON, at, click, profile, unfit};

/// Midnight of the day of [`NOON`].
const MIDNIGHT: i64 = NOON - 12 * 3_600_000;

/// Runs every case against one store, which is empty and migrated at the start.
pub(super) async fn retention_contract<S: EventStore + Subjects>(store: &S) {
    a_visitor_is_forgotten_on_both_sides_of_midnight(store).await;
    a_profile_is_forgotten_with_the_letters_that_only_name_it(store).await;
    the_last_millisecond_goes_and_the_first_one_stays(store).await;
    what_never_came_back_is_forgotten(store).await;
}

async fn visitors<S: EventStore>(store: &S, of: &str, from: Day, days: i32) -> u64 {
    let to = Day(from.0 + days);
    store.profile_visitors(&profile(of), from, to).await.unwrap().count()
}

async fn a_visitor_is_forgotten_on_both_sides_of_midnight<S: EventStore + Subjects>(store: &S) {
    let batch = [
        click("before", "edges", "a", 1, MIDNIGHT - 1),
        click("after", "edges", "a", 1, MIDNIGHT),
        click("last", "edges", "a", 1, MIDNIGHT + DAY - 1),
        click("other", "edges", "a", 2, MIDNIGHT - 1),
        click("third", "edges", "a", 3, MIDNIGHT),
    ];
    store.record(&batch, at(NOON)).await.unwrap();
    let yesterday = at(MIDNIGHT - 1).day();
    assert_eq!(visitors(store, "edges", yesterday, 1).await, 2);
    assert_eq!(visitors(store, "edges", Day(yesterday.0 + 1), 1).await, 2);
    let erased = store.erase_visitor(VisitorId(1)).await.unwrap();
    assert_eq!((erased.events, erased.sketches_kept), (3, 0));
    // Nobody but the others is left on either day; their clicks stay counted.
    assert_eq!(visitors(store, "edges", yesterday, 1).await, 1);
    assert_eq!(visitors(store, "edges", Day(yesterday.0 + 1), 1).await, 1);
    let hours = store.hours(&profile("edges"), yesterday.first_hour(), at(NOON + DAY).hour()).await;
    assert_eq!(hours.unwrap().iter().map(|hour| hour.clicks).sum::<u64>(), 5);
    assert_eq!(store.verify(true).await.unwrap(), []);
    assert_eq!(visitors(store, "edges", yesterday, 2).await, 2);
}

async fn a_profile_is_forgotten_with_the_letters_that_only_name_it<S>(store: &S)
where
    S: EventStore + Subjects,
{
    let mut named = unfit("names it", NOON);
    named.payload = r#"{"profile_id":"edges"}"#.into();
    let mut other = unfit("names another", NOON);
    other.payload = r#"{"link":{"workspaceId":"other"}}"#.into();
    let letters = [named, other].map(|event| DeadLetter::of(&event, "missing_field", at(NOON)));
    store.bury(&letters).await.unwrap();
    let of =
        |id: &str| DeadFilter { profile: Some(id.to_owned()), limit: 9, ..DeadFilter::default() };
    assert_eq!(store.dead_letters(&of("edges")).await.unwrap().len(), 1);
    let erased = store.erase_profile(&profile("edges")).await.unwrap();
    assert_eq!((erased.events, erased.dead_letters), (5, 1));
    assert_eq!(store.dead_letters(&of("edges")).await.unwrap(), []);
    assert_eq!(store.dead_letters(&of("other")).await.unwrap().len(), 1);
    // A delivery that is retried does not bring it back.
    let again = store.record(&[click("after", "edges", "a", 1, MIDNIGHT)], at(NOON)).await;
    assert_eq!(again.unwrap().duplicates, 1);
    assert_eq!(store.profile(&profile("edges")).await.unwrap(), None);
}

async fn the_last_millisecond_goes_and_the_first_one_stays<S: EventStore + Subjects>(store: &S) {
    let batch = [
        click("gone", "kept", "a", 1, MIDNIGHT - 1),
        click("first", "kept", "a", 1, MIDNIGHT),
        click("near", "kept", "a", 2, MIDNIGHT + DAY - 1),
    ];
    store.record(&batch, at(NOON)).await.unwrap();
    // The first kept day is that of `first`, until the day of today + 30 has ended.
    for now in [MIDNIGHT + 30 * DAY, MIDNIGHT + 31 * DAY - 1] {
        store.maintain(at(now), 30).await.unwrap();
        assert_eq!(store.record(&batch[1..], at(now)).await.unwrap().duplicates, 2, "{now}");
        assert_eq!(store.verify(false).await.unwrap(), []);
    }
    // Rollups outlive the archive: what is counted stays, and a sketch of a day that is gone cannot
    // forget one visitor.
    let (gone, kept) = (at(MIDNIGHT - 1).day(), at(MIDNIGHT).day());
    let erased = store.erase_visitor(VisitorId(1)).await.unwrap();
    assert_eq!((erased.events, erased.sketches_kept), (1, 2), "{erased:?}");
    assert_eq!(visitors(store, "kept", gone, 1).await, 1);
    assert_eq!(visitors(store, "kept", kept, 1).await, 1);
    // One day more, and its identity may come again.
    store.maintain(at(MIDNIGHT + 31 * DAY), 30).await.unwrap();
    let again = store.record(&[batch[1].clone()], at(MIDNIGHT + 31 * DAY)).await.unwrap();
    assert_eq!(again.fresh, vec![0]);
}

async fn what_never_came_back_is_forgotten<S: EventStore>(store: &S) {
    let letter = |millis| DeadLetter::of(&unfit("redriven", NOON), "missing_field", at(millis));
    let key = letter(NOON).key();
    let filter = DeadFilter { ids: vec![key], limit: 1, ..DeadFilter::default() };
    for (days, attempts) in [(30, 2), (31, 1)] {
        store.bury(&[letter(NOON)]).await.unwrap();
        assert_eq!(store.release_dead_letters(&[(key, 1)], at(NOON)).await.unwrap(), 1);
        store.maintain(at(NOON + days * DAY), 30).await.unwrap();
        store.bury(&[letter(NOON + days * DAY)]).await.unwrap();
        let back = store.dead_letters(&filter).await.unwrap().remove(0);
        assert_eq!(back.attempts, attempts, "after {days} days");
        assert_eq!(store.remove_dead_letters(&[(key, attempts)]).await.unwrap(), 1);
    }
}
