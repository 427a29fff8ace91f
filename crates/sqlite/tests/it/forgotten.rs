//! What was erased is in no byte of the store's files.

use tempfile::TempDir;
use treehook_event::{DeadLetter, Event, EventStore, Subjects, VisitorId};
use treehook_sqlite::Store;

use crate::sample::{
    click, intruder, milestone, named, noon, of_link, of_profile, seen_by, titled,
};

/// How often the bytes stand in any of the files.
fn occurrences(folder: &TempDir, wanted: &[u8]) -> usize {
    let files = ["store.db", "store.db-wal"].map(|name| std::fs::read(folder.path().join(name)));
    files
        .iter()
        .flatten()
        .flat_map(|bytes| bytes.windows(wanted.len()))
        .filter(|w| *w == wanted)
        .count()
}

/// Many profiles and links beside each other, so that pages of every tree are split and joined.
fn crowd(turn: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..400 {
        let (id, at) =
            (turn * 1000 + number, noon().plus_millis((number % 50).cast_signed() * 86_400_000));
        let profile =
            if number % 4 == 0 { "forget-me".to_owned() } else { format!("stay-{number}") };
        let link = format!(
            "{}-link-{}",
            if number % 4 == 0 { "forget" } else { "keep" },
            number * 7919 % 400
        );
        let told =
            of_link(titled(&format!("t-{id}"), &format!("{profile} title {turn}"), at), &link);
        events.push(of_profile(told, &profile));
        events.push(of_profile(of_link(click(id, at), &link), &profile));
        let mut bio = named(&format!("{profile}-n-{id}"), &format!("{profile} name {turn}"), at);
        bio.payload = format!(r#"{{"a":"{profile} {}"}}"#, "x".repeat(5000)).into();
        events.push(of_profile(bio, &profile));
        events.push(of_profile(milestone(&format!("m-{id}"), at), &profile));
    }
    events
}

#[tokio::test]
async fn an_erased_profile_is_in_no_byte_of_the_files() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    for turn in 0..5 {
        store.record(&crowd(turn), noon()).await.unwrap();
        let letters: Vec<_> = crowd(turn)[..20]
            .iter()
            .map(|event| DeadLetter::of(event, "expired", noon()))
            .collect();
        store.bury(&letters).await.unwrap();
    }
    assert!(occurrences(&folder, b"forget-") > 100);
    store.erase_profile(&treehook_event::ProfileId::trusted("forget-me")).await.unwrap();
    assert_eq!(occurrences(&folder, b"forget-"), 0);
    assert!(occurrences(&folder, b"stay-") > 100);
    assert_eq!(store.verify(false).await, Ok(vec![]));
}

#[tokio::test]
async fn an_erased_visitor_is_in_no_byte_of_the_files() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    let gone = VisitorId(0x1122_3344_5566_7788);
    let mut batch = crowd(0);
    for event in batch.iter_mut().step_by(3) {
        *event = seen_by(event.clone(), gone);
    }
    store.record(&batch, noon()).await.unwrap();
    store.bury(&[DeadLetter::of(&batch[9], "expired", noon())]).await.unwrap();
    let stored = [&gone.0.to_be_bytes()[..], b"1122334455667788"];
    assert!(stored.iter().any(|bytes| occurrences(&folder, bytes) > 0));
    store.erase_visitor(gone).await.unwrap();
    for bytes in stored {
        assert_eq!(occurrences(&folder, bytes), 0);
    }
    assert_eq!(store.verify(true).await, Ok(vec![]));
}

#[tokio::test]
async fn what_is_past_retention_does_not_wait_in_the_file_for_the_log_to_be_moved() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    let long_ago = noon().plus_millis(-40 * 86_400_000);
    store.record(&[of_profile(click(1, long_ago), "forget-me")], long_ago).await.unwrap();
    // Whoever closes it moves the log.
    store.close().await;
    let in_the_file = || {
        let bytes = std::fs::read(folder.path().join("store.db")).unwrap();
        bytes.windows(7).filter(|window| window == b"click-1").count()
    };
    assert!(in_the_file() > 0);
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.maintain(noon(), 30).await.unwrap().days_dropped, 1);
    assert_eq!(in_the_file(), 0);
}

#[tokio::test]
async fn a_reader_in_the_way_is_told_and_erasing_again_is_enough() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    store.record(&[of_profile(click(1, noon()), "forget-me")], noon()).await.unwrap();
    let mut reader = intruder(&folder.path().join("store.db")).await;
    sqlx::raw_sql("begin; select count(*) from events").execute(&mut reader).await.unwrap();
    let subject = treehook_event::ProfileId::trusted("forget-me");
    let failure = store.erase_profile(&subject).await.unwrap_err();
    assert_eq!(failure.cause().reason, "database_busy");
    assert!(failure.cause().detail.contains("erase again"), "{failure}");
    assert!(occurrences(&folder, b"forget-") > 0);

    sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
    store.erase_profile(&subject).await.unwrap();
    assert_eq!(occurrences(&folder, b"forget-"), 0);
}
