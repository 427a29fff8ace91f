//! A batch folded: what is added per hour, day, dimension and visitor.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use treehook_event::{
    Counts, DELTA_VERSION, Dimension, Event, Hour, LinkId, ProfileId, Rollup, Scheme, Timestamp,
    fold,
};

use crate::setup::{events, now, source};

/// A visit in a small world, so that many share a key.
#[derive(Debug, Clone)]
struct Visited {
    profile: u8,
    link: Option<u8>,
    hours_ago: i64,
    visitor: u16,
    country: &'static str,
}

fn visited() -> impl Strategy<Value = Visited> {
    let country = prop::sample::select(vec!["DE", "FR", "unknown"]);
    (0..3_u8, prop::option::of(0..3_u8), 0..50_i64, 0..40_u16, country).prop_map(
        |(profile, link, hours_ago, visitor, country)| Visited {
            profile,
            link,
            hours_ago,
            visitor,
            country,
        },
    )
}

fn as_events(visits: &[Visited]) -> Vec<Event> {
    let envelope = |visit: &Visited| {
        json!({
            "type": if visit.link.is_some() { "link.clicked" } else { "profile.viewed" },
            "timestamp": now().plus_millis(-visit.hours_ago * 3_600_000).to_rfc3339(),
            "data": {
                "profile_id": format!("p{}", visit.profile),
                "link_id": visit.link.map(|link| format!("l{link}")),
                "visitor_id": format!("v{}", visit.visitor),
                "country": visit.country,
            },
        })
    };
    let batch: Vec<_> = visits.iter().map(envelope).collect();
    events(&source(Scheme::linktree()), json!(batch).to_string()).expect("a good batch")
}

fn hour_of(visit: &Visited) -> Hour {
    Hour(now().hour().0 - visit.hours_ago)
}

fn profile(number: u8) -> ProfileId {
    ProfileId::new(&format!("p{number}")).expect("an id")
}

fn link(number: u8) -> LinkId {
    LinkId::new(&format!("l{number}")).expect("an id")
}

proptest! {
    #[test]
    fn a_fold_counts_what_a_plain_loop_counts(visits in prop::collection::vec(visited(), 1..80)) {
        let rollup = fold(&as_events(&visits));
        let mut link_hours: BTreeMap<_, u64> = BTreeMap::new();
        let mut link_days: BTreeMap<_, u64> = BTreeMap::new();
        let mut profile_hours: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        let mut visitors: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        let mut link_visitors: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        let mut countries: BTreeMap<_, u64> = BTreeMap::new();
        for visit in &visits {
            let (hour, owner) = (hour_of(visit), profile(visit.profile));
            let counts = profile_hours.entry((owner.clone(), hour)).or_default();
            visitors.entry((owner.clone(), hour.day())).or_default().insert(visit.visitor);
            match visit.link {
                None => counts.0 += 1,
                Some(number) => {
                    counts.1 += 1;
                    let clicked = (owner.clone(), link(number));
                    *link_hours.entry((owner.clone(), clicked.1.clone(), hour)).or_default() += 1;
                    let day = (clicked.0, clicked.1, hour.day());
                    *link_days.entry(day.clone()).or_default() += 1;
                    link_visitors.entry(day).or_default().insert(visit.visitor);
                    let country = (owner, hour.day(), visit.country.to_owned());
                    *countries.entry(country).or_default() += 1;
                }
            }
        }
        let counted = rollup.link_hours().map(|(owner, link, hour, clicks)| {
            ((owner.clone(), link.clone(), hour), clicks)
        });
        prop_assert_eq!(counted.collect::<Vec<_>>(), Vec::from_iter(link_hours));
        let days = link_days.iter().map(|((owner, link, day), clicks)| (owner, link, *day, *clicks));
        prop_assert_eq!(rollup.link_days(), days.collect::<Vec<_>>());
        let counted = rollup
            .profile_hours()
            .map(|(owner, hour, counts)| ((owner.clone(), hour), (counts.views, counts.clicks)));
        prop_assert_eq!(counted.collect::<Vec<_>>(), Vec::from_iter(profile_hours));
        let counted = rollup
            .profile_visitors()
            .map(|(owner, day, seen)| ((owner.clone(), day), seen.count()));
        let sizes = visitors.into_iter().map(|(key, set)| (key, set.len() as u64));
        prop_assert_eq!(counted.collect::<Vec<_>>(), sizes.collect::<Vec<_>>());
        let counted = rollup
            .link_visitors()
            .map(|(owner, link, day, seen)| ((owner.clone(), link.clone(), day), seen.count()));
        let sizes = link_visitors.into_iter().map(|(key, set)| (key, set.len() as u64));
        prop_assert_eq!(counted.collect::<Vec<_>>(), sizes.collect::<Vec<_>>());
        let mut counted = BTreeMap::new();
        for (owner, day, dimension, value, clicks) in rollup.audience() {
            if dimension == Dimension::Country {
                counted.insert((owner.clone(), day, value.to_owned()), clicks);
            }
        }
        prop_assert_eq!(counted, countries);
    }

    #[test]
    fn parts_that_were_kept_as_bytes_add_up_to_the_whole(
        visits in prop::collection::vec(visited(), 0..150), cut in 0..150_usize,
    ) {
        let kept = |part: &[Visited]| {
            let events = if part.is_empty() { Vec::new() } else { as_events(part) };
            fold(&events).to_delta()
        };
        let read = |sum: Rollup, delta: &[u8]| {
            sum.with_delta(DELTA_VERSION, delta).expect("our own bytes")
        };
        let now = Timestamp::from_seconds(0);
        let whole = fold(&if visits.is_empty() { Vec::new() } else { as_events(&visits) });
        let (first, second) = visits.split_at(cut.min(visits.len()));
        for (first, second) in [(first, second), (second, first)] {
            let (first, second) = (kept(first), kept(second));
            let sum = read(read(Rollup::default(), &first), &second);
            prop_assert!(sum.link_hours().eq(whole.link_hours()));
            prop_assert!(sum.profile_hours().eq(whole.profile_hours()));
            prop_assert_eq!(sum.live_minutes(now), whole.live_minutes(now));
            prop_assert!(sum.audience().eq(whole.audience()));
            prop_assert!(sum.profiles().eq(whole.profiles()));
            prop_assert!(sum.links().eq(whole.links()));
            let of_profiles = |of: &Rollup| -> Vec<_> {
                let visitors = of.profile_visitors();
                visitors.map(|(owner, day, seen)| (owner.clone(), day, seen.count())).collect()
            };
            prop_assert_eq!(of_profiles(&sum), of_profiles(&whole));
            let of_links = |of: &Rollup| -> Vec<_> {
                let visitors = of.link_visitors();
                visitors
                    .map(|(owner, link, day, seen)| {
                        (owner.clone(), link.clone(), day, seen.count())
                    })
                    .collect()
            };
            prop_assert_eq!(of_links(&sum), of_links(&whole));
            prop_assert_eq!(sum.is_empty(), visits.is_empty());
        }
    }

    #[test]
    fn every_dimension_adds_up_to_the_clicks(visits in prop::collection::vec(visited(), 1..60)) {
        let rollup = fold(&as_events(&visits));
        let clicks: u64 = rollup.profile_hours().map(|(.., counts)| counts.clicks).sum();
        prop_assert_eq!(rollup.link_hours().map(|(.., clicks)| clicks).sum::<u64>(), clicks);
        for dimension in [Dimension::Country, Dimension::Device, Dimension::Referrer] {
            let values = rollup.audience().filter(|(_, _, of, ..)| *of == dimension);
            prop_assert_eq!(values.map(|(.., clicks)| clicks).sum::<u64>(), clicks);
        }
    }
}

fn fold_of(batch: &serde_json::Value) -> Rollup {
    fold(&events(&source(Scheme::linktree()), batch.to_string()).expect("a good batch"))
}

#[test]
fn every_type_has_its_effect_and_no_other() {
    let envelope = |event_type: &str, data: serde_json::Value| json!({"type": event_type, "timestamp": "2025-11-24T15:00:00Z", "data": data});
    let rollup = fold_of(&json!([
        envelope("link.created", json!({"profile_id": "p1", "link_id": "l1", "title": "a"})),
        envelope("profile.updated", json!({"profile_id": "p2", "username": "ann"})),
        envelope("analytics.milestone", json!({"profile_id": "p3", "metric": "views"})),
        envelope("subscription.renewed", json!({"profile_id": "p4"})),
        envelope("link.clicked", json!({"profile_id": "p5"})),
    ]));
    assert_eq!(rollup.links().count(), 1);
    let named: Vec<_> =
        rollup.profiles().map(|(name, said)| (name.as_str(), said.is_some())).collect();
    let expected = [("p1", false), ("p2", true), ("p3", false)];
    assert_eq!(named, expected, "neither the unknown nor the unfit");
    assert_eq!(rollup.milestones.len(), 1);
    assert_eq!(rollup.profile_hours().count() + rollup.audience().count(), 0);
    assert_eq!(rollup.link_hours().count() + rollup.profile_visitors().count(), 0);
}

#[test]
fn whoever_nobody_can_tell_apart_is_counted_but_is_no_visitor() {
    let view = json!({"type": "profile.viewed", "timestamp": 0, "data": {"profile_id": "p1"}});
    let rollup = fold_of(&json!([view, view]));
    let (owner, views) = (profile(1), Counts { views: 2, clicks: 0 });
    assert!(rollup.profile_hours().eq([(&owner, Hour(0), views)]));
    assert_eq!(rollup.profile_visitors().count(), 0);
}

#[test]
fn a_dub_click_fills_the_projection() {
    let body = json!({
        "id": "e", "event": "link.clicked", "createdAt": "2025-11-24T15:00:00Z",
        "data": {"link": {"id": "l1", "workspaceId": "p1", "title": "Shop"}},
    });
    let rollup = fold(&events(&source(Scheme::dub()), body.to_string()).unwrap());
    let (owner, link, state) = rollup.links().next().expect("what it says of the link");
    assert_eq!((owner.as_str(), link.as_str()), ("p1", "l1"));
    assert_eq!(state.title.as_ref().expect("said").value, "Shop");
    assert_eq!(rollup.link_hours().count(), 1);
}
