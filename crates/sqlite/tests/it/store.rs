//! The store's own promises: counted once, kept as long as retention says.

use std::path::Path;

use tempfile::TempDir;
use treehook_event::{
    DeadFilter, DeadLetter, Event, EventStore, Failure, Maintained, Recorded, Tally,
};
use treehook_sqlite::Store;

use crate::sample::{click, intruder, link, named, noon, profile, tamper, titled, view};

async fn open(directory: &Path) -> Store {
    let store = Store::open(directory).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn clicks_of(store: &Store) -> u64 {
    let (from, to) = (noon().day().plus(-1000).first_hour(), noon().day().plus(2).first_hour());
    let hours = store.hours(&profile(), from, to).await.unwrap();
    hours.iter().map(|count| count.clicks).sum()
}

#[tokio::test]
async fn the_same_identity_twice_in_a_batch_counts_once() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let later = Event { occurred_at: noon().plus_millis(86_400_000), ..click(1, noon()) };
    let batch = [click(1, noon()), view(2, noon()), click(1, noon()), later];
    let recorded = store.record(&batch, noon()).await.unwrap();
    assert_eq!(recorded, Recorded { fresh: vec![0, 1], duplicates: 2 });
    assert_eq!(clicks_of(&store).await, 1);
}

#[tokio::test]
async fn recording_again_counts_once_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let batch: Vec<Event> = (0..150).map(|number| click(number, noon())).collect();
    let store = open(folder.path()).await;
    assert_eq!(store.record(&[], noon()).await, Ok(Recorded::default()));
    assert_eq!(store.record(&batch, noon()).await.unwrap().fresh.len(), 150);
    store.close().await;

    let store = open(folder.path()).await;
    let recorded = store.record(&batch, noon()).await.unwrap();
    assert_eq!(recorded, Recorded { fresh: vec![], duplicates: 150 });
    assert_eq!(clicks_of(&store).await, 150);
    let (today, tomorrow) = (noon().day(), noon().day().plus(1));
    let visitors = store.link_visitors(&profile(), today, tomorrow).await.unwrap();
    assert_eq!(visitors[0].0, link());
    assert!(visitors[0].1.count().abs_diff(150) <= 6, "{visitors:?}");
    let tally = Tally { applied: 150, duplicates: 150, dead: 0, newest_event: Some(noon()) };
    assert_eq!(store.tally().await, Ok(tally));
}

#[tokio::test]
async fn two_stores_on_one_file_count_every_event_once() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    let batch: Vec<Event> = (0..100).map(|number| click(number, noon())).collect();
    let (first, second) = tokio::join!(one.record(&batch, noon()), two.record(&batch, noon()));
    assert_eq!(first.unwrap().fresh.len() + second.unwrap().fresh.len(), 100);
    assert_eq!(clicks_of(&one).await, 100);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_and_the_next_one_works() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let file = folder.path().join("store.db");
    // `rollback` ends the transaction under the driver, as SQLite does when the disk is full.
    tamper(
        &file,
        "create trigger no_room before insert on link_hours begin \
         select raise(rollback, 'no room'); end",
    )
    .await;
    assert!(store.record(&[click(1, noon())], noon()).await.is_err());
    tamper(&file, "drop trigger no_room").await;
    assert_eq!(store.record(&[click(1, noon())], noon()).await.unwrap().fresh, vec![0]);
    assert_eq!(clicks_of(&store).await, 1);
}

#[tokio::test]
async fn ready_commits_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let before = store.tally().await;
    let log = folder.path().join("store.db-wal");
    let length = std::fs::metadata(&log).unwrap().len();
    store.ready().await.unwrap();
    assert!(std::fs::metadata(&log).unwrap().len() > length, "nothing was written");
    assert_eq!(store.tally().await, before);

    let file = folder.path().join("store.db");
    tamper(
        &file,
        "create trigger no_room before update on tally begin \
         select raise(rollback, 'no room'); end",
    )
    .await;
    assert!(store.ready().await.is_err());
    store.ping().await.unwrap();
    tamper(&file, "drop trigger no_room").await;
    assert_eq!(store.ready().await, Ok(()));
}

#[tokio::test]
async fn rows_that_cannot_be_read_do_not_stop_recording_and_are_mended_later() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let batch = [click(1, noon()), titled("t-1", "Old", noon()), named("n-1", "ada", noon())];
    store.record(&batch, noon()).await.unwrap();
    tamper(
        &folder.path().join("store.db"),
        "update profile_visitors set sketch = x'00'; update link_visitors set sketch = x''; \
         update links set state = 'nonsense'; update profiles set state = cast(x'ff' as text)",
    )
    .await;

    let batch = [click(2, noon()), titled("t-2", "New", noon())];
    assert_eq!(store.record(&batch, noon()).await.unwrap().fresh, vec![0, 1]);
    assert_eq!(clicks_of(&store).await, 2);
    let mended = store.verify(true).await.unwrap();
    let rollups: Vec<_> = mended.iter().map(|difference| difference.rollup).collect();
    // The newer title is all that was to be known of the link.
    assert_eq!(rollups, ["profile_visitors", "link_visitors", "profiles"]);
    assert_eq!(store.verify(false).await, Ok(vec![]));
    let summary = store.profile(&profile()).await.unwrap().unwrap();
    assert_eq!(summary.state.username.unwrap().value, "ada");
}

#[tokio::test]
async fn a_store_that_has_moved_is_still_the_same_and_so_is_the_one_it_was() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    store.record(&[click(1, noon())], noon()).await.unwrap();
    let moved = store.moved_here().await.unwrap();
    moved.record(&[click(1, noon()), click(2, noon())], noon()).await.unwrap();
    store.record(&[click(2, noon()), click(3, noon())], noon()).await.unwrap();
    assert_eq!((clicks_of(&store).await, clicks_of(&moved).await), (3, 3));
}

#[tokio::test]
async fn retention_drops_whole_days_and_keeps_the_edge() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let kept_from = noon().day().plus(-30).start();
    let batch = [
        click(1, kept_from.plus_millis(-86_400_001)),
        click(2, kept_from.plus_millis(-1)),
        click(3, kept_from),
        click(4, noon()),
    ];
    store.record(&batch, noon()).await.unwrap();
    assert_eq!(store.maintain(noon(), 30).await, Ok(Maintained { days_dropped: 2 }));
    assert_eq!(store.maintain(noon(), 30).await, Ok(Maintained { days_dropped: 0 }));

    let mut connection = intruder(&folder.path().join("store.db")).await;
    let kept: Vec<String> = sqlx::query_scalar("select identity from events order by identity")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, ["click-3", "click-4"]);
    assert_eq!(clicks_of(&store).await, 4);
    assert_eq!(store.verify(false).await, Ok(vec![]));
}

#[tokio::test]
async fn dead_letters_are_found_by_every_field_of_the_filter() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let field = DeadLetter::of(&click(1, noon()), "missing_field:link_id", noon());
    let expired = DeadLetter::of(&view(2, noon()), "expired", noon().plus_millis(5));
    store.bury(&[field.clone(), expired.clone()]).await.unwrap();
    store.bury(&[DeadLetter { last_at: noon().plus_millis(1), ..field.clone() }]).await.unwrap();

    let all = DeadFilter { limit: 10, ..DeadFilter::default() };
    let text = |value: &str| Some(value.to_owned());
    for (filter, fits) in [
        (DeadFilter { reason: text("missing_field"), ..all.clone() }, &field),
        (DeadFilter { reason: text("missing_field:link_id"), ..all.clone() }, &field),
        (DeadFilter { reason: text("expired"), ..all.clone() }, &expired),
        (DeadFilter { event_type: text("profile.viewed"), ..all.clone() }, &expired),
        (DeadFilter { last_before: Some(noon().plus_millis(1)), ..all.clone() }, &field),
        (DeadFilter { ids: vec![expired.key()], ..all.clone() }, &expired),
        (DeadFilter { after: Some(field.key().min(expired.key())), ..all.clone() }, {
            if field.key() < expired.key() { &expired } else { &field }
        }),
    ] {
        let found = store.dead_letters(&filter).await.unwrap();
        let ids: Vec<String> = found.iter().map(DeadLetter::id).collect();
        assert_eq!(ids, [fits.id()], "{filter:?}");
    }
    let none = DeadFilter { source: text("dub"), ..all.clone() };
    assert_eq!(store.dead_letters(&none).await, Ok(vec![]));
    let empty = DeadFilter { reason: text(""), ..all.clone() };
    assert_eq!(store.dead_letters(&empty).await, Ok(vec![]));

    let by_id = DeadFilter { ids: vec![field.key()], ..all };
    let found = store.dead_letters(&by_id).await.unwrap();
    assert_eq!((found[0].attempts, found[0].first_at), (2, noon()));
    assert_eq!(store.tally().await.unwrap().dead, 2);
    // As it was read before it was buried again: it stays.
    assert_eq!(store.remove_dead_letters(&[(field.key(), 1)]).await, Ok(0));
    let read_twice = [(field.key(), 2), (field.key(), 2)];
    assert_eq!(store.remove_dead_letters(&read_twice).await, Ok(1));
    assert_eq!(store.tally().await.unwrap().dead, 1);
}

#[tokio::test]
async fn links_that_were_only_clicked_and_links_that_were_only_named_are_listed() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let mut other = titled("t-1", "Other", noon());
    if let treehook_event::Body::Link(change) = &mut other.body {
        change.link_id = treehook_event::LinkId::trusted("about");
    }
    store.record(&[click(1, noon()), other], noon()).await.unwrap();
    let (from, to) = (noon().hour(), treehook_event::Hour(noon().hour().0 + 1));
    let totals = store.link_totals(&profile(), from, to).await.unwrap();
    let told: Vec<_> = totals
        .iter()
        .map(|total| (total.link_id.as_str(), total.clicks, total.state.title.is_some()))
        .collect();
    assert_eq!(told, [("about", 0, true), ("shop", 1, false)]);
}

#[tokio::test]
async fn a_report_in_an_empty_folder_is_told_what_to_do() {
    let folder = TempDir::new().unwrap();
    let failure = Store::open_existing(folder.path()).await.unwrap_err();
    assert!(matches!(&failure, Failure::Fatal(cause) if cause.reason == "no_database"));
    assert!(failure.cause().detail.contains("store.db"), "{failure}");
    assert!(!folder.path().join("store.db").exists());
}

#[tokio::test]
async fn many_processes_may_migrate_at_once() {
    let folder = TempDir::new().unwrap();
    let migrating = (0..8).map(|_| {
        let directory = folder.path().to_owned();
        tokio::spawn(async move { Store::open(&directory).await?.migrate().await })
    });
    for migrated in migrating.collect::<Vec<_>>() {
        migrated.await.unwrap().unwrap();
    }
    open(folder.path()).await.ping().await.unwrap();
}
