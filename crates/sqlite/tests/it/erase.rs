//! Erasing a visitor or a profile: what is forgotten, what stays, and that `verify` agrees.

use tempfile::TempDir;
use treehook_event::{
    Body, DeadFilter, DeadLetter, Erased, Event, EventStore, EventType, LinkFields, ProfileId,
    Recorded, Subjects, VisitorId,
};
use treehook_sqlite::Store;

use crate::sample::{click, milestone, named, noon, of_profile, profile, seen_by, titled, view};

const DAY_MS: i64 = 86_400_000;

async fn store(folder: &TempDir) -> Store {
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn letters(store: &Store) -> Vec<String> {
    let all = DeadFilter { limit: 100, ..DeadFilter::default() };
    let found = store.dead_letters(&all).await.unwrap();
    let mut identities: Vec<String> = found.iter().map(|l| l.identity.to_string()).collect();
    identities.sort();
    identities
}

async fn visitors(store: &Store, profile: &ProfileId) -> (u64, u64) {
    let (from, to) = (noon().day().plus(-100), noon().day().plus(1));
    let links = store.link_visitors(profile, from, to).await.unwrap();
    let of_profile = store.profile_visitors(profile, from, to).await.unwrap();
    (of_profile.count(), links.iter().map(|(_, sketch)| sketch.count()).sum())
}

fn with_link(mut event: Event) -> Event {
    if let Body::Visit(visit) = &mut event.body {
        let fields = LinkFields { title: Some("x".to_owned()), ..LinkFields::default() };
        visit.link = Some(fields.into());
    }
    event
}

#[tokio::test]
async fn a_visitor_is_forgotten_and_clicks_and_views_stay_counted() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let gone = VisitorId(0x00c0_ffee_0000_0001);
    let yesterday = noon().plus_millis(-DAY_MS);
    let mut batch: Vec<Event> = (0..300).map(|number| click(number, noon())).collect();
    batch.extend([
        with_link(seen_by(click(1000, noon()), gone)),
        seen_by(view(1001, noon()), gone),
        // Alone on that day: nothing is left to make a sketch of.
        seen_by(click(1002, yesterday), gone),
        of_profile(seen_by(view(1003, noon()), gone), "other"),
    ]);
    store.record(&batch, noon()).await.unwrap();
    let dead = |event: &Event| DeadLetter::of(event, "expired", noon());
    let quoted = Event::unreadable(dead(&batch[301]).event.as_bytes(), "damaged", noon());
    store.bury(&[dead(&batch[301]), dead(&batch[0]), dead(&quoted)]).await.unwrap();
    assert_eq!(store.verify(false).await, Ok(vec![]));

    let erased = Erased { events: 4, sketches: 5, sketches_kept: 0, dead_letters: 2 };
    assert_eq!(store.erase_visitor(gone).await, Ok(erased));
    assert_eq!(store.verify(false).await, Ok(vec![]));
    assert_eq!(store.verify(true).await, Ok(vec![]));
    assert_eq!(store.erase_visitor(gone).await, Ok(Erased::default()));
    assert_eq!(letters(&store).await, ["click-0"]);
    assert_eq!(visitors(&store, &ProfileId::trusted("other")).await, (0, 0));
    let (from, to) = (noon().day().plus(-2).first_hour(), noon().day().plus(1).first_hour());
    let hours = store.hours(&profile(), from, to).await.unwrap();
    assert_eq!(
        hours.iter().map(|hour| (hour.clicks, hour.views)).collect::<Vec<_>>(),
        [(1, 0), (301, 1)]
    );
    // What the click told of the link is not about the visitor.
    let links = store.link_totals(&profile(), from, to).await.unwrap();
    assert_eq!(links[0].state.title.as_ref().unwrap().value, "x");
    let again = store.record(&batch, noon()).await.unwrap();
    assert_eq!(again, Recorded { fresh: vec![], duplicates: 304 });
}

#[tokio::test]
async fn a_visitor_among_many_leaves_a_dense_sketch_as_if_never_seen() {
    let (with, without) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (with, without) = (store(&with).await, store(&without).await);
    let gone = VisitorId(77);
    let batch: Vec<Event> = (0..5000).map(|number| click(number, noon())).collect();
    without.record(&batch, noon()).await.unwrap();
    with.record(&[seen_by(view(9999, noon()), gone)], noon()).await.unwrap();
    with.record(&batch, noon()).await.unwrap();
    assert_eq!(with.erase_visitor(gone).await.unwrap().sketches, 1);
    let (from, to) = (noon().day(), noon().day().plus(1));
    let mut rebuilt = with.profile_visitors(&profile(), from, to).await.unwrap();
    let never_seen = without.profile_visitors(&profile(), from, to).await.unwrap();
    assert_eq!(rebuilt.count(), never_seen.count());
    rebuilt.merge(&never_seen);
    assert_eq!(rebuilt.count(), never_seen.count());
}

#[tokio::test]
async fn sketches_from_before_the_archive_are_kept_and_told() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let gone = VisitorId(77);
    let old = noon().plus_millis(-40 * DAY_MS);
    let batch = [seen_by(click(1, old), gone), seen_by(view(2, noon()), gone), view(3, noon())];
    store.record(&batch, noon()).await.unwrap();
    store.maintain(noon(), 30).await.unwrap();
    let erased = Erased { events: 1, sketches: 1, sketches_kept: 2, dead_letters: 0 };
    assert_eq!(store.erase_visitor(gone).await, Ok(erased));
    assert_eq!(store.verify(true).await, Ok(vec![]));
    assert_eq!(visitors(&store, &profile()).await, (2, 1));
}

#[tokio::test]
async fn a_profile_is_forgotten_and_a_retried_delivery_does_not_bring_it_back() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let yesterday = noon().plus_millis(-DAY_MS);
    let mut batch: Vec<Event> = (0..120).map(|number| click(number, noon())).collect();
    batch.extend([
        view(200, yesterday),
        titled("t-1", "Shop", noon()),
        named("n-1", "ada", noon()),
    ]);
    batch.push(milestone("m-1", noon()));
    batch.push(unknown("u-1", r#"{"link":{"workspaceId":"studio"}}"#));
    let ours = batch.len();
    batch.push(unknown("u-2", r#"{"link":{"workspaceId":"else"}}"#));
    batch.push(of_profile(click(201, noon()), "studio/b"));
    store.record(&batch, noon()).await.unwrap();
    let dead = |event: &Event| DeadLetter::of(event, "expired", noon());
    let unfit = Event {
        body: Body::Unfit {
            event_type: EventType::trusted("link.clicked"),
            reason: "missing_field:link_id".to_owned(),
        },
        ..unknown("unfit", r#"{"profile_id":"studio"}"#)
    };
    let quoted = Event::unreadable(dead(&batch[0]).event.as_bytes(), "damaged", noon());
    let damaged = Event::unreadable(b"{", "damaged", noon());
    let buried = [&batch[0], &batch[120], &batch[ours + 1], &unfit, &quoted, &damaged];
    store.bury(&buried.map(dead)).await.unwrap();

    let erased = Erased { events: ours as u64, sketches: 3, sketches_kept: 0, dead_letters: 4 };
    assert_eq!(store.erase_profile(&profile()).await, Ok(erased));
    assert_eq!(store.verify(false).await, Ok(vec![]));
    assert_eq!(store.verify(true).await, Ok(vec![]));
    assert_eq!(store.erase_profile(&profile()).await, Ok(Erased::default()));
    assert_eq!(letters(&store).await, ["click-201", damaged.identity.as_str()]);

    assert_eq!(store.profile(&profile()).await, Ok(None));
    assert_eq!(store.history(&profile(), None, 10).await, Ok(vec![]));
    assert_eq!(store.milestones(&profile(), 10).await, Ok(vec![]));
    assert_eq!(store.profiles(None, 10).await.unwrap().len(), 1);
    assert_eq!(visitors(&store, &ProfileId::trusted("studio/b")).await, (1, 1));
    let again = store.record(&batch, noon()).await.unwrap();
    assert_eq!(again, Recorded { fresh: vec![], duplicates: batch.len() as u64 });
    assert_eq!(store.profile(&profile()).await, Ok(None));

    // New events are another matter.
    store.record(&[click(500, noon())], noon()).await.unwrap();
    assert_eq!(visitors(&store, &profile()).await, (1, 1));
    assert_eq!(store.verify(false).await, Ok(vec![]));
}

fn unknown(identity: &str, payload: &str) -> Event {
    let body = Body::Unknown { event_type: EventType::trusted("lead.created") };
    Event { body, payload: payload.into(), ..milestone(identity, noon()) }
}

#[tokio::test]
async fn what_is_recorded_while_a_profile_is_erased_leaves_no_difference() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let first: Vec<Event> = (0..2000).map(|number| click(number, noon())).collect();
    store.record(&first, noon()).await.unwrap();
    let recording = async {
        for number in 2000..2200 {
            store.record(&[click(number, noon()), view(number, noon())], noon()).await.unwrap();
        }
    };
    let subject = profile();
    let (erased, ()) = tokio::join!(store.erase_profile(&subject), recording);
    assert!(erased.unwrap().events >= 2000);
    assert_eq!(store.verify(false).await, Ok(vec![]));
}
