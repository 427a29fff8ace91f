//! Dead letters in a batch, and text that a column cannot hold.

use treehook_event::{DeadFilter, DeadLetter, EventStore as _, ProfileId};

use crate::harness::{Scratch, at, view, with_store};

#[tokio::test]
async fn the_same_letter_twice_in_a_batch_is_two_attempts() {
    with_store(async |scratch: Scratch| {
        let letter = |id: &str, reason: &str, time: &str| {
            DeadLetter::of(&view(id, "2026-11-24T12:00:00Z", 1), reason, at(time))
        };
        let first = letter("a", "missing_field:link_id", "2026-11-24T12:00:00Z");
        let again = letter("a", "expired", "2026-11-24T13:00:00Z");
        let mut other = letter("b\0", "undecodable:\0", "2026-11-24T12:00:00Z");
        other.profile_id = Some(ProfileId::trusted("p\0"));
        scratch.store.bury(&[first.clone(), other, again]).await.unwrap();
        let filter = DeadFilter { ids: vec![first.key()], limit: 10, ..DeadFilter::default() };
        let listed = scratch.store.dead_letters(&filter).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].attempts, listed[0].reason.as_str()), (2, "expired"));
        assert_eq!(listed[0].first_at, first.first_at);
        assert_eq!(listed[0].last_at, at("2026-11-24T13:00:00Z"));

        let by_head = |reason: &str| DeadFilter {
            reason: Some(reason.to_owned()),
            limit: 10,
            ..DeadFilter::default()
        };
        let buried = scratch.store.dead_letters(&by_head("undecodable")).await.unwrap();
        assert_eq!(buried[0].identity.as_str(), "b\u{fffd}");
        assert_eq!(buried[0].profile_id.as_ref().map(ProfileId::as_str), Some("p\u{fffd}"));
        assert_eq!(scratch.store.dead_letters(&by_head("undecod")).await.unwrap(), Vec::new());
        assert_eq!(scratch.store.tally().await.unwrap().dead, 2);
        // It was buried again since it was read as buried once.
        assert_eq!(scratch.store.remove_dead_letters(&[(first.key(), 1)]).await, Ok(0));
        let twice = (first.key(), 2);
        assert_eq!(scratch.store.remove_dead_letters(&[twice, twice]).await, Ok(1));
    })
    .await;
}
