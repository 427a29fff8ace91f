//! The history of a profile and its links.

use tempfile::TempDir;
use treehook_event::{Body, Event, EventStore, Key, ProfileId, Subjects, Timestamp};
use treehook_sqlite::Store;

use crate::sample::{click, intruder, link, named, noon, profile, titled, view};

#[tokio::test]
async fn changes_are_told_latest_first_and_page_by_page() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.migrate().await.unwrap();
    let mut told: Vec<Event> = vec![
        titled("t-1", "Old", noon().plus_millis(-1)),
        titled("t-2", "New", noon()),
        // At the same moment, so that the key decides.
        titled("t-3", "Newer", noon()),
        named("n-1", "ada", noon().plus_millis(5)),
    ];
    store.record(&[click(1, noon()), view(2, noon())], noon()).await.unwrap();
    store.record(&told, noon()).await.unwrap();

    told.sort_by_key(|event| std::cmp::Reverse((event.occurred_at, event.key())));
    let mut after: Option<(Timestamp, Key)> = None;
    for event in &told {
        let page = store.history(&profile(), after, 1).await.unwrap();
        let row = &page[0];
        assert_eq!((row.at, row.key), (event.occurred_at, event.key()));
        assert_eq!((&row.source, &row.identity), (&event.source, &event.identity));
        assert_eq!(row.event_type.as_str(), event.event_type());
        assert_eq!(row.link_id.as_ref(), event.link_id());
        let body: Body = serde_json::from_str(&row.detail).unwrap();
        assert_eq!(body, event.body);
        after = Some((row.at, row.key));
    }
    assert_eq!(store.history(&profile(), after, 1).await, Ok(vec![]));
    assert_eq!(store.history(&profile(), None, 10).await.unwrap().len(), 4);
    assert_eq!(store.history(&ProfileId::trusted("nobody"), None, 10).await, Ok(vec![]));
    assert_eq!(told[3].link_id(), Some(&link()));
}

#[tokio::test]
async fn the_history_is_read_from_its_index() {
    let folder = TempDir::new().unwrap();
    Store::open(folder.path()).await.unwrap().migrate().await.unwrap();
    let mut connection = intruder(&folder.path().join("store.db")).await;
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "explain query plan select detail from events \
         where profile_id = 'p' and (occurred_at, key) < (1, x'00') \
         and type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated') \
         order by occurred_at desc, key desc limit 10",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert!(plan[0].3.contains("events_history (profile_id=? AND (occurred_at,key)<"), "{plan:?}");
}
