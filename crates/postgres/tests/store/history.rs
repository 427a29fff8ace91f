//! The history of a profile, page by page.

use treehook_event::{Body, Event, EventStore as _, HistoryRow, LinkId, Subjects as _};

use crate::harness::{
    Scratch, at, click, milestone, named, of, profile, telling, titled, view, with_store,
};

const NOON: &str = "2026-11-24T12:00:00Z";

#[tokio::test]
async fn changes_are_told_latest_first_and_nothing_else() {
    with_store(async |scratch: Scratch| {
        let events: Vec<Event> = vec![
            titled("l1", "2026-11-20T12:00:00Z", "first"),
            named("n1", "2026-11-22T12:00:00Z", "ann"),
            titled("l2", NOON, "second"),
            titled("l3", NOON, "third"),
            of("p2", titled("l4", NOON, "of somebody else")),
            click("c", NOON, "l1", 1),
            telling("t", NOON, "l1", 1),
            view("v", NOON, 1),
            milestone("m", NOON),
        ];
        scratch.record(&events).await;
        let all = scratch.store.history(&profile(), None, 100).await.unwrap();
        let mut expected: Vec<_> =
            events[..4].iter().map(|event| (event.occurred_at, event.key())).collect();
        expected.sort_unstable();
        expected.reverse();
        let told: Vec<_> = all.iter().map(|row| (row.at, row.key)).collect();
        assert_eq!(told, expected);
        let latest_name = &all[2];
        assert_eq!(latest_name.identity.as_str(), "n1");
        assert_eq!(latest_name.source.as_str(), "linktree");
        assert_eq!(latest_name.event_type.as_str(), "profile.updated");
        assert_eq!(latest_name.link_id, None);
        assert_eq!(all[0].link_id.as_ref().map(LinkId::as_str), Some("l1"));
        let body: Body = serde_json::from_str(&latest_name.detail).unwrap();
        assert_eq!(body, events[1].body);

        let mut pages: Vec<HistoryRow> = Vec::new();
        loop {
            let after = pages.last().map(|row| (row.at, row.key));
            let page = scratch.store.history(&profile(), after, 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages, all);
    })
    .await;
}

#[tokio::test]
async fn every_day_of_the_archive_has_the_index_of_the_history() {
    with_store(async |scratch: Scratch| {
        scratch.record(&[titled("l1", NOON, "first")]).await;
        scratch.store.maintain(at(NOON), 400).await.unwrap();
        let indexes = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'events_changes'::regclass";
        // Every day has it: the one made on demand, and those made ahead.
        assert_eq!(scratch.number(indexes).await, 8);
    })
    .await;
}
