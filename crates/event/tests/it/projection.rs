//! Last writer wins, field by field, whatever the order of arrival.

use std::collections::BTreeMap;

use proptest::prelude::*;
use treehook_event::{
    Identity, LinkChange, LinkChangeKind, LinkFields, LinkId, LinkState, ProfileFields, ProfileId,
    ProfileState, Stamp, Timestamp,
};

fn stamp(at: i64, by: &str) -> Stamp {
    Stamp { at: Timestamp::from_millis(at), by: Identity::given(by) }
}

fn profile_id() -> ProfileId {
    ProfileId::new("p").expect("an id")
}

fn change(kind: LinkChangeKind, fields: LinkFields) -> LinkChange {
    let link_id = LinkId::new("l").expect("an id");
    LinkChange { change: kind, profile_id: profile_id(), link_id, fields }
}

fn link_fields() -> impl Strategy<Value = LinkFields> {
    let text = || prop::option::of("[a-c]{1,2}");
    (text(), prop::option::of(text()), text(), prop::option::of(0..3_i64), any::<Option<bool>>())
        .prop_map(|(title, url, kind, position, enabled)| LinkFields {
            title,
            thumbnail: url.clone(),
            url,
            kind,
            position,
            enabled,
            as_of: None,
        })
}

fn kinds() -> impl Strategy<Value = LinkChangeKind> {
    prop_oneof![
        2 => Just(LinkChangeKind::Created),
        4 => Just(LinkChangeKind::Updated),
        1 => Just(LinkChangeKind::Deleted),
    ]
}

/// Changes by identity, which is unique: times are few, so that many events share one.
fn history() -> impl Strategy<Value = Vec<(Stamp, LinkChange)>> {
    let event = (0..4_i64, kinds(), link_fields());
    prop::collection::btree_map("[a-f]", event, 1..6).prop_map(|events| {
        let events: BTreeMap<_, _> = events;
        events
            .into_iter()
            .map(|(by, (at, kind, fields))| (stamp(at, &by), change(kind, fields)))
            .collect()
    })
}

fn merged<'a>(states: impl IntoIterator<Item = &'a LinkState>) -> LinkState {
    let mut whole = LinkState::default();
    states.into_iter().for_each(|state| whole.merge(state));
    whole
}

fn states(history: &[(Stamp, LinkChange)]) -> Vec<LinkState> {
    history.iter().map(|(stamp, change)| LinkState::of_change(change, stamp)).collect()
}

proptest! {
    #[test]
    fn links_merge_in_any_order_and_grouping_and_any_number_of_times(
        (history, shuffled) in history().prop_flat_map(|h| (Just(h.clone()), Just(h).prop_shuffle())),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = merged(&states(&history));
        let shuffled = states(&shuffled);
        prop_assert_eq!(&merged(&shuffled), &whole, "another order");
        let (left, right) = shuffled.split_at(cut.index(shuffled.len()));
        prop_assert_eq!(&merged([&merged(left), &merged(right)]), &whole, "another grouping");
        prop_assert_eq!(&merged(shuffled.iter().chain(&shuffled)), &whole, "all of it twice");
        prop_assert_eq!(&merged([&whole, &whole]), &whole);
    }

    #[test]
    fn every_field_is_what_its_latest_writer_said(history in history()) {
        let whole = merged(&states(&history));
        let said = |names: &dyn Fn(&LinkFields) -> bool| {
            let writers = history.iter().filter(|(_, change)| names(&change.fields));
            writers.max_by(|one, other| one.0.cmp(&other.0))
        };
        let title = said(&|fields| fields.title.is_some());
        prop_assert_eq!(
            whole.title.map(|held| (held.stamp, held.value)),
            title.map(|(stamp, c)| (stamp.clone(), c.fields.title.clone().expect("named")))
        );
        let url = said(&|fields| fields.url.is_some());
        prop_assert_eq!(
            whole.url.map(|held| (held.stamp, held.value)),
            url.map(|(stamp, c)| (stamp.clone(), c.fields.url.clone().expect("named")))
        );
        let enabled = said(&|fields| fields.enabled.is_some());
        prop_assert_eq!(
            whole.enabled.map(|held| held.value),
            enabled.and_then(|(_, c)| c.fields.enabled)
        );
        let deletions = history.iter().filter(|(_, c)| c.change == LinkChangeKind::Deleted);
        prop_assert_eq!(whole.deleted, deletions.map(|(stamp, _)| stamp.clone()).min());
    }

    #[test]
    fn a_state_survives_storage(history in history()) {
        let whole = merged(&states(&history));
        let stored = serde_json::to_string(&whole).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<LinkState>(&stored).expect("ours"), whole);
    }

    #[test]
    fn profiles_merge_in_any_order(
        events in prop::collection::btree_map(
            "[a-f]",
            (0..4_i64, prop::option::of("[a-c]"), prop::option::of(prop::option::of("[a-c]"))),
            1..6,
        ),
    ) {
        let states: Vec<ProfileState> = events
            .into_iter()
            .map(|(by, (at, text, avatar_url))| {
                let fields = ProfileFields {
                    profile_id: profile_id(),
                    username: text.clone(),
                    display_name: text.clone(),
                    bio: None,
                    avatar_url,
                    theme: text,
                };
                ProfileState::of_fields(&fields, &stamp(at, &by))
            })
            .collect();
        let mut forward = ProfileState::default();
        for state in &states {
            forward.merge(state);
        }
        let mut backward = ProfileState::default();
        states.iter().rev().for_each(|state| backward.merge(state));
        prop_assert_eq!(&forward, &backward);
        for state in &states {
            forward.merge(state);
        }
        prop_assert_eq!(&forward, &backward);
        let stored = serde_json::to_string(&forward).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<ProfileState>(&stored).expect("ours"), forward);
    }
}

#[test]
fn an_older_update_that_arrives_late_changes_only_what_nobody_said_since() {
    let newer = LinkFields { title: Some("new".into()), ..LinkFields::default() };
    let older = LinkFields {
        title: Some("old".into()),
        url: Some(Some("https://a.example".into())),
        ..LinkFields::default()
    };
    let mut state = LinkState::of_change(&change(LinkChangeKind::Updated, newer), &stamp(2, "b"));
    state.merge(&LinkState::of_change(&change(LinkChangeKind::Created, older), &stamp(1, "z")));
    assert_eq!(state.title.expect("said").value, "new");
    assert_eq!(state.url.expect("said").value.as_deref(), Some("https://a.example"));
}

#[test]
fn a_deleted_link_stays_deleted_and_still_learns_its_name() {
    let deletion = change(LinkChangeKind::Deleted, LinkFields::default());
    let mut state = LinkState::of_change(&deletion, &stamp(5, "b"));
    let named = LinkFields { title: Some("name".into()), ..LinkFields::default() };
    for (kind, at) in [(LinkChangeKind::Created, 1), (LinkChangeKind::Updated, 9)] {
        let late = LinkState::of_change(&change(kind, named.clone()), &stamp(at, "a"));
        state.merge(&late);
        assert_eq!(state.deleted, Some(stamp(5, "b")));
    }
    assert_eq!(state.title.expect("said").value, "name");
}

#[test]
fn what_two_sources_say_under_one_id_at_one_time_is_merged_in_any_order() {
    let said = |title: &str| {
        let fields = LinkFields { title: Some(title.into()), ..LinkFields::default() };
        LinkState::of_change(&change(LinkChangeKind::Updated, fields), &stamp(1, "7"))
    };
    let states = [said("a"), said("b")];
    assert_eq!(merged(&states), merged(states.iter().rev()));
    assert_eq!(merged(&states).title.expect("said").value, "b");
}
