//! The contract of `EventStore`.

use std::collections::BTreeMap;

use treehook_event::{
    Account, Balance, Counting, Day, DeadFilter, DeadLetter, Dimension, Entry, EventStore, Hour,
    LinkChangeKind, LinkFields, Minute, MinuteCount, ReceiverId, Recorded, Statement,
};

use crate::fixtures::{
    DAY, HOUR, NOON, at, change, click, link, profile, renamed, titled, unfit, unknown, view,
};

/// Runs every case against one store, which is empty and migrated at the start.
pub(super) async fn store_contract<S: EventStore>(store: &S) {
    an_empty_store_answers(store).await;
    recording_twice_counts_once(store).await;
    the_fresh_are_found_among_many(store).await;
    late_and_unordered_events_find_their_hour(store).await;
    the_latest_minutes_are_kept(store).await;
    visitors_are_counted_once_over_days(store).await;
    the_audience_adds_up(store).await;
    links_are_last_writer_wins_field_by_field(store).await;
    unknown_types_are_archived(store).await;
    dead_letters_are_kept_and_filtered(store).await;
    a_redriven_letter_continues_its_history(store).await;
    the_ledger_balances(store).await;
    verify_agrees_with_all_of_this(store).await;
    what_is_past_retention_goes(store).await;
}

async fn clicks_by_link<S: EventStore>(store: &S, of: &str) -> BTreeMap<String, u64> {
    let all = (Hour(0), Hour(10_000_000));
    let totals = store.link_totals(&profile(of), all.0, all.1).await.unwrap();
    totals.into_iter().map(|total| (total.link_id.to_string(), total.clicks)).collect()
}

async fn an_empty_store_answers<S: EventStore>(store: &S) {
    store.ping().await.unwrap();
    assert_eq!(store.record(&[], at(NOON)).await.unwrap(), Recorded::default());
    assert_eq!(store.tally().await.unwrap().applied, 0);
    assert!(store.profiles(None, 10).await.unwrap().is_empty());
    assert_eq!(store.profile(&profile("nobody")).await.unwrap(), None);
    assert!(store.verify(false).await.unwrap().is_empty());
}

async fn recording_twice_counts_once<S: EventStore>(store: &S) {
    let batch = [
        click("c1", "twice", "a", 1, NOON),
        click("c2", "twice", "a", 2, NOON),
        click("c1", "twice", "a", 1, NOON),
        view("v1", "twice", 1, NOON),
    ];
    let first = store.record(&batch, at(NOON)).await.unwrap();
    assert_eq!(first, Recorded { fresh: vec![0, 1, 3], duplicates: 1 });
    let second = store.record(&batch, at(NOON)).await.unwrap();
    assert_eq!(second, Recorded { fresh: vec![], duplicates: 4 });
    // The same identity rendered anew with another time of the same UTC day.
    let again = [click("c1", "twice", "a", 1, NOON + 5 * HOUR)];
    assert_eq!(store.record(&again, at(NOON)).await.unwrap().duplicates, 1);
    // Another source's identity is another event.
    let mut other = click("c1", "twice", "a", 1, NOON);
    other.source = treehook_event::SourceName::new("dub").unwrap();
    assert_eq!(store.record(&[other], at(NOON)).await.unwrap().fresh, vec![0]);
    assert_eq!(clicks_by_link(store, "twice").await, BTreeMap::from([("a".to_owned(), 3)]));
    let tally = store.tally().await.unwrap();
    assert_eq!((tally.applied, tally.duplicates), (4, 6));
    assert_eq!(tally.newest_event, Some(at(NOON)));
}

async fn the_fresh_are_found_among_many<S: EventStore>(store: &S) {
    const COUNT: usize = 1500;
    // Neighbours are far apart, and each statement over some of them meets old ones, new ones and repeated ones.
    let scattered = |number: usize| {
        let id = (number * 611) % COUNT;
        click(&format!("many{id}"), "many", "a", 1, NOON)
    };
    let old: Vec<_> = (0..COUNT / 5).map(|number| scattered(number * 3)).collect();
    let recorded = store.record(&old, at(NOON)).await.unwrap();
    assert_eq!((recorded.fresh.len(), recorded.duplicates), (COUNT / 5, 0));

    let twice: Vec<_> = (0..COUNT + COUNT / 2).map(scattered).collect();
    let fresh: Vec<usize> =
        (0..COUNT).filter(|number| number % 3 != 0 || *number >= COUNT * 3 / 5).collect();
    let recorded = store.record(&twice, at(NOON)).await.unwrap();
    let duplicates = (twice.len() - fresh.len()) as u64;
    assert_eq!(recorded, Recorded { fresh, duplicates });
    assert_eq!(clicks_by_link(store, "many").await, BTreeMap::from([("a".to_owned(), 1500)]));
}

async fn late_and_unordered_events_find_their_hour<S: EventStore>(store: &S) {
    let batch = [
        click("l3", "late", "a", 1, NOON + 2 * HOUR),
        click("l1", "late", "a", 1, NOON - 40 * DAY),
        click("l2", "late", "b", 1, NOON),
        view("l4", "late", 1, NOON + 1),
    ];
    store.record(&batch, at(NOON)).await.unwrap();
    store.record(&[click("l5", "late", "a", 1, NOON - 40 * DAY + 1)], at(NOON)).await.unwrap();
    let noon = at(NOON).hour();
    let hours =
        store.hours(&profile("late"), Hour(noon.0 - 24 * 41), Hour(noon.0 + 3)).await.unwrap();
    let counted: Vec<_> =
        hours.iter().map(|count| (count.hour.0 - noon.0, count.views, count.clicks)).collect();
    assert_eq!(counted, [(-24 * 40, 0, 2), (0, 1, 1), (2, 0, 1)]);
    let of_link =
        store.link_hours(&profile("late"), &link("a"), Hour(0), Hour(noon.0 + 3)).await.unwrap();
    assert_eq!(of_link, [(Hour(noon.0 - 24 * 40), 2), (Hour(noon.0 + 2), 1)]);
    let window = store.link_totals(&profile("late"), noon, Hour(noon.0 + 1)).await.unwrap();
    let clicked: Vec<_> =
        window.iter().filter(|t| t.clicks > 0).map(|t| (t.link_id.as_str(), t.clicks)).collect();
    assert_eq!(clicked, [("b", 1)]);
}

async fn the_latest_minutes_are_kept<S: EventStore>(store: &S) {
    const MINUTE: i64 = 60_000;
    let batch = [
        click("min1", "within", "a", 1, NOON),
        view("min2", "within", 1, NOON + MINUTE - 1),
        view("min3", "within", 2, NOON - 119 * MINUTE),
        // Too old for what is live, and in the hours all the same.
        click("min4", "within", "a", 1, NOON - 120 * MINUTE - 1),
        click("min5", "within", "a", 1, NOON + MINUTE),
    ];
    store.record(&batch[..3], at(NOON)).await.unwrap();
    // A duplicate is none here either.
    store.record(&batch, at(NOON)).await.unwrap();
    let noon = at(NOON).minute();
    let all = (Minute(noon.0 - 1000), Minute(noon.0 + 1000));
    let counted = async || {
        let minutes = store.minutes(&profile("within"), all.0, all.1).await.unwrap();
        let of = |it: &MinuteCount| (it.minute.0 - noon.0, it.counts.views, it.counts.clicks);
        minutes.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(counted().await, [(-119, 1, 0), (0, 1, 1), (1, 0, 1)]);
    let within = store.minutes(&profile("within"), noon, Minute(noon.0 + 1)).await.unwrap();
    assert_eq!(within.len(), 1);
    store.maintain(at(NOON + MINUTE), 400).await.unwrap();
    assert_eq!(counted().await, [(0, 1, 1), (1, 0, 1)]);
}

async fn visitors_are_counted_once_over_days<S: EventStore>(store: &S) {
    let mut batch = Vec::new();
    for day in 0..3_u64 {
        for visitor in 0..60_u64 {
            // 60 visitors a day, 40 of whom come every day.
            let who = if visitor < 40 { visitor } else { visitor + 100 * (day + 1) };
            let who = who.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let link = if visitor % 2 == 0 { "even" } else { "odd" };
            let id = format!("u{day}-{visitor}");
            batch.push(click(&id, "unique", link, who, NOON + day.cast_signed() * DAY));
        }
    }
    let (first, second) = batch.split_at(77);
    store.record(first, at(NOON)).await.unwrap();
    store.record(second, at(NOON)).await.unwrap();
    let from = at(NOON).day();
    let of_days = async |days: i32| {
        let to = Day(from.0 + days);
        store.profile_visitors(&profile("unique"), from, to).await.unwrap().count()
    };
    assert_eq!([of_days(1).await, of_days(2).await, of_days(3).await], [60, 80, 100]);
    let links = store.link_visitors(&profile("unique"), from, Day(from.0 + 3)).await.unwrap();
    let counted: BTreeMap<_, _> =
        links.iter().map(|(link, sketch)| (link.as_str(), sketch.count())).collect();
    assert_eq!(counted, BTreeMap::from([("even", 50), ("odd", 50)]));
}

async fn the_audience_adds_up<S: EventStore>(store: &S) {
    let from = at(NOON).day();
    let rows = store.audience(&profile("unique"), from, Day(from.0 + 2)).await.unwrap();
    for dimension in [Dimension::Country, Dimension::Device, Dimension::Referrer] {
        let clicks: u64 =
            rows.iter().filter(|row| row.dimension == dimension).map(|row| row.clicks).sum();
        assert_eq!(clicks, 120, "{dimension:?}");
    }
    assert!(rows.iter().any(|row| row.value == "instagram.com"));
    let slice = (Dimension::Country, "DE");
    let days = store.audience_days(&profile("unique"), slice, from, Day(from.0 + 2)).await.unwrap();
    assert_eq!(days, [(from, 60), (Day(from.0 + 1), 60)]);
}

async fn links_are_last_writer_wins_field_by_field<S: EventStore>(store: &S) {
    use LinkChangeKind::{Created, Deleted, Updated};
    let created = LinkFields {
        url: Some(Some("https://example.com/".into())),
        position: Some(3),
        ..titled("first")
    };
    let batches = [
        vec![change("s3", Updated, "s", titled("third"), NOON + 3)],
        vec![change("s1", Created, "s", created, NOON + 1), renamed("n2", "newer", NOON + 2)],
        vec![change("s2", Updated, "s", titled("second"), NOON + 2), renamed("n1", "older", NOON)],
        vec![change("d2", Deleted, "gone", LinkFields::default(), NOON + 2)],
        vec![change("d3", Updated, "gone", titled("revived?"), NOON + 3)],
    ];
    for batch in &batches {
        store.record(batch, at(NOON)).await.unwrap();
    }
    let totals = store.link_totals(&profile("p"), Hour(0), Hour(1)).await.unwrap();
    let states: BTreeMap<_, _> =
        totals.into_iter().map(|total| (total.link_id.to_string(), total.state)).collect();
    let state = &states["s"];
    assert_eq!(state.title.as_ref().unwrap().value, "third");
    assert_eq!(state.url.as_ref().unwrap().value.as_deref(), Some("https://example.com/"));
    assert_eq!(state.position.as_ref().unwrap().value, 3);
    assert!(state.deleted.is_none());
    assert!(states["gone"].deleted.is_some());
    let summary = store.profile(&profile("p")).await.unwrap().unwrap();
    assert_eq!(summary.state.username.unwrap().value, "newer");
    let names: Vec<String> = store
        .profiles(None, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|summary| summary.profile_id.to_string())
        .collect();
    assert_eq!(names, ["late", "many", "p", "twice", "unique", "within"]);
    let page = store.profiles(Some(&profile("late")), 2).await.unwrap();
    assert_eq!(page.len(), 2);
    assert_eq!(page[0].profile_id.as_str(), "many");
}

async fn unknown_types_are_archived<S: EventStore>(store: &S) {
    let before = store.tally().await.unwrap().applied;
    let recorded = store.record(&[unknown("x1", NOON)], at(NOON)).await.unwrap();
    assert_eq!(recorded.fresh, vec![0]);
    assert_eq!(store.tally().await.unwrap().applied, before + 1);
}

async fn dead_letters_are_kept_and_filtered<S: EventStore>(store: &S) {
    let one = DeadLetter::of(&unfit("dead1", NOON), "missing_field:link_id", at(NOON));
    let two = DeadLetter::of(&click("dead2", "p", "l", 1, NOON), "expired", at(NOON + HOUR));
    store.bury(&[one.clone(), two.clone()]).await.unwrap();
    let again = DeadLetter { first_at: at(NOON + 9), last_at: at(NOON + 9), ..one.clone() };
    store.bury(&[again]).await.unwrap();
    store.bury(&[]).await.unwrap();
    let all = DeadFilter { limit: 10, ..DeadFilter::default() };
    let letters = store.dead_letters(&all).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].key() < letters[1].key());
    let kept = letters.iter().find(|letter| letter.key() == one.key()).unwrap();
    assert_eq!((kept.attempts, kept.first_at, kept.last_at), (2, at(NOON), at(NOON + 9)));
    assert_eq!(kept.event, one.event);
    assert_eq!(store.tally().await.unwrap().dead, 2);
    for (filter, found) in [
        (DeadFilter { reason: Some("missing_field".into()), ..all.clone() }, 1),
        (DeadFilter { reason: Some("missing_field:link_id".into()), ..all.clone() }, 1),
        (DeadFilter { reason: Some("missing".into()), ..all.clone() }, 0),
        (DeadFilter { source: Some("dub".into()), ..all.clone() }, 0),
        (DeadFilter { event_type: Some("link.clicked".into()), ..all.clone() }, 2),
        (DeadFilter { last_before: Some(at(NOON + 9)), ..all.clone() }, 1),
        (DeadFilter { last_after: Some(at(NOON + 10)), ..all.clone() }, 1),
        (DeadFilter { last_after: Some(at(NOON + 9)), ..all.clone() }, 2),
        (DeadFilter { profile: Some("p".into()), ..all.clone() }, 1),
        (DeadFilter { ids: vec![two.key()], ..all.clone() }, 1),
        (DeadFilter { after: Some(letters[0].key()), ..all.clone() }, 1),
        (DeadFilter { limit: 1, ..all.clone() }, 1),
    ] {
        assert_eq!(store.dead_letters(&filter).await.unwrap().len(), found, "{filter:?}");
    }
    // What was buried again since it was read is not what was dealt with.
    assert_eq!(store.remove_dead_letters(&[(one.key(), 1)]).await.unwrap(), 0);
    let both = [(one.key(), 2), (two.key(), 1)];
    assert_eq!(store.remove_dead_letters(&both).await.unwrap(), 2);
    assert_eq!(store.remove_dead_letters(&both).await.unwrap(), 0);
    assert_eq!(store.tally().await.unwrap().dead, 0);
}

async fn a_redriven_letter_continues_its_history<S: EventStore>(store: &S) {
    let letter = |millis| DeadLetter::of(&unfit("again", NOON), "missing_field", at(millis));
    let key = letter(NOON).key();
    let filter = DeadFilter { ids: vec![key], limit: 10, ..DeadFilter::default() };
    let kept = async || {
        let letters = store.dead_letters(&filter).await.unwrap();
        letters.first().map(|kept| (kept.attempts, kept.first_at, kept.last_at))
    };
    store.bury(&[letter(NOON)]).await.unwrap();
    // What was buried again since it was read is not what was redriven.
    store.bury(&[letter(NOON + 1)]).await.unwrap();
    assert_eq!(store.release_dead_letters(&[(key, 1)], at(NOON + 2)).await.unwrap(), 0);
    let twice = [(key, 2), (key, 2)];
    assert_eq!(store.release_dead_letters(&twice, at(NOON + 2)).await.unwrap(), 1);
    assert_eq!(store.release_dead_letters(&[(key, 2)], at(NOON + 2)).await.unwrap(), 0);
    assert_eq!(kept().await, None);
    assert_eq!(store.tally().await.unwrap().dead, 0);
    // Twice in one batch, and once more after another redrive.
    store.bury(&[letter(NOON + 5), letter(NOON + 6)]).await.unwrap();
    assert_eq!(kept().await, Some((4, at(NOON), at(NOON + 6))));
    assert_eq!(store.release_dead_letters(&[(key, 4)], at(NOON + 7)).await.unwrap(), 1);
    store.bury(&[letter(NOON + 8)]).await.unwrap();
    assert_eq!(kept().await, Some((5, at(NOON), at(NOON + 8))));
    // What was discarded has no history to continue.
    assert_eq!(store.remove_dead_letters(&[(key, 5)]).await.unwrap(), 1);
    store.bury(&[letter(NOON + 9)]).await.unwrap();
    assert_eq!(kept().await, Some((1, at(NOON + 9), at(NOON + 9))));
    assert_eq!(store.remove_dead_letters(&[(key, 1)]).await.unwrap(), 1);
}

async fn the_ledger_balances<S: EventStore>(store: &S) {
    let counting = Counting {
        receiver: ReceiverId(0xfeed_face_cafe_beef),
        epoch: 1_764_000_000_000,
        source: click("n", "ledger", "a", 1, NOON).source,
    };
    let numbered = |sequence: u64, identity: &str| {
        let mut event = click(identity, "ledger", "a", 1, NOON);
        event.entry = Some(Entry { receiver: counting.receiver, epoch: counting.epoch, sequence });
        event
    };
    // 0 to 3 arrive, 2 is the same event as 1; 4 is void, 5 is set aside, 6 is on its way.
    let batch = [
        numbered(0, "numbered-0"),
        numbered(1, "numbered-1"),
        numbered(2, "numbered-1"),
        numbered(3, "numbered-3"),
    ];
    store.record(&batch, at(NOON)).await.unwrap();
    // The message comes again: that is no duplicate.
    store.record(&batch, at(NOON)).await.unwrap();
    let letter = DeadLetter::of(&numbered(5, "numbered-5"), "expired", at(NOON));
    store.bury(std::slice::from_ref(&letter)).await.unwrap();
    let mut statement = Statement { version: 3, next: 7, ..Statement::new(counting.clone()) };
    statement.void.add(4..5);
    let older = Statement { version: 2, next: 1, ..Statement::new(counting.clone()) };
    store.state(&[older.clone(), statement.clone()], at(NOON)).await.unwrap();
    store.state(&[older], at(NOON)).await.unwrap();

    let account = account_of(store, &counting).await;
    assert_eq!(account.unsettled().to_string(), "6");
    let expected =
        Balance { accepted: 6, applied: 3, duplicates: 1, dead: 1, in_flight: 1, void: 1 };
    assert_eq!(account.balance(), expected);
    assert_eq!((account.settled_to, account.is_complete()), (6, false));

    store.record(&[numbered(6, "numbered-6")], at(NOON)).await.unwrap();
    statement.close();
    store.state(&[statement], at(NOON)).await.unwrap();
    let account = account_of(store, &counting).await;
    assert!(account.is_complete());
    // What comes again after that changes nothing.
    store.record(&batch, at(NOON)).await.unwrap();
    let balance = account_of(store, &counting).await.balance();
    assert_eq!(balance, Balance { applied: 4, in_flight: 0, ..expected });
    let as_read = [(letter.key(), 1)];
    assert_eq!(store.remove_dead_letters(&as_read).await.unwrap(), 1);
}

async fn account_of<S: EventStore>(store: &S, counting: &Counting) -> Account {
    let accounts = store.ledger().await.unwrap();
    accounts.into_iter().find(|account| account.counting == *counting).unwrap()
}

async fn verify_agrees_with_all_of_this<S: EventStore>(store: &S) {
    assert_eq!(store.verify(false).await.unwrap(), []);
    assert_eq!(store.verify(true).await.unwrap(), []);
}

async fn what_is_past_retention_goes<S: EventStore>(store: &S) {
    let today = at(NOON + 10 * DAY);
    store.record(&[click("edge", "edge", "a", 1, NOON - 20 * DAY)], at(NOON)).await.unwrap();
    // 30 days back from today is exactly the day of that click: kept.
    store.maintain(today, 30).await.unwrap();
    let twice = store.record(&[click("edge", "edge", "a", 1, NOON - 20 * DAY)], at(NOON)).await;
    assert_eq!(twice.unwrap().duplicates, 1);
    let done = store.maintain(at(NOON + 11 * DAY), 30).await.unwrap();
    assert!(done.days_dropped >= 1, "{done:?}");
    // Its rollups stay, and what is left still verifies.
    assert_eq!(clicks_by_link(store, "edge").await, BTreeMap::from([("a".to_owned(), 1)]));
    assert_eq!(store.verify(false).await.unwrap(), []);
    assert_eq!(clicks_by_link(store, "twice").await, BTreeMap::from([("a".to_owned(), 3)]));
}
