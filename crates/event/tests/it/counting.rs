//! A batch folded: what is added per hour, day, dimension and visitor.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use treehook_event::{
    DELTA_VERSION, Dimension, Event, Hour, LinkId, ProfileId, Rollup, Scheme, fold,
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
        prop_assert_eq!(&rollup.link_hours, &link_hours);
        let days = link_days.iter().map(|((owner, link, day), clicks)| (owner, link, *day, *clicks));
        prop_assert_eq!(rollup.link_days(), days.collect::<Vec<_>>());
        let counted: BTreeMap<_, _> = rollup
            .profile_hours
            .iter()
            .map(|(key, counts)| (key.clone(), (counts.views, counts.clicks)))
            .collect();
        prop_assert_eq!(counted, profile_hours);
        let sizes = |sets: BTreeMap<_, BTreeSet<u16>>| -> BTreeMap<_, u64> {
            sets.into_iter().map(|(key, set)| (key, set.len() as u64)).collect()
        };
        let counted: BTreeMap<_, _> =
            rollup.profile_visitors.iter().map(|(key, seen)| (key.clone(), seen.count())).collect();
        prop_assert_eq!(counted, sizes(visitors));
        for (key, seen) in &rollup.link_visitors {
            prop_assert_eq!(seen.count(), link_visitors[key].len() as u64);
        }
        prop_assert_eq!(rollup.link_visitors.len(), link_visitors.len());
        let mut counted = BTreeMap::new();
        for ((owner, day, dimension, value), clicks) in &rollup.audience {
            if *dimension == Dimension::Country {
                counted.insert((owner.clone(), *day, value.clone()), *clicks);
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
            Rollup::from_delta(DELTA_VERSION, &fold(&events).to_delta()).expect("our own bytes")
        };
        let whole = fold(&if visits.is_empty() { Vec::new() } else { as_events(&visits) });
        let (first, second) = visits.split_at(cut.min(visits.len()));
        for (first, second) in [(first, second), (second, first)] {
            let mut sum = kept(first);
            sum.merge(kept(second));
            prop_assert_eq!(&sum.link_hours, &whole.link_hours);
            prop_assert_eq!(&sum.profile_hours, &whole.profile_hours);
            prop_assert_eq!(&sum.profile_minutes, &whole.profile_minutes);
            prop_assert_eq!(&sum.audience, &whole.audience);
            prop_assert_eq!(&sum.profiles, &whole.profiles);
            prop_assert_eq!(&sum.links, &whole.links);
            let of_profiles = |of: &Rollup| -> Vec<_> {
                of.profile_visitors.iter().map(|(key, seen)| (key.clone(), seen.count())).collect()
            };
            prop_assert_eq!(of_profiles(&sum), of_profiles(&whole));
            let of_links = |of: &Rollup| -> Vec<_> {
                of.link_visitors.iter().map(|(key, seen)| (key.clone(), seen.count())).collect()
            };
            prop_assert_eq!(of_links(&sum), of_links(&whole));
            prop_assert_eq!(sum.is_empty(), visits.is_empty());
        }
    }

    #[test]
    fn every_dimension_adds_up_to_the_clicks(visits in prop::collection::vec(visited(), 1..60)) {
        let rollup = fold(&as_events(&visits));
        let clicks: u64 = rollup.profile_hours.values().map(|counts| counts.clicks).sum();
        prop_assert_eq!(rollup.link_hours.values().sum::<u64>(), clicks);
        for dimension in [Dimension::Country, Dimension::Device, Dimension::Referrer] {
            let values = rollup.audience.iter().filter(|((_, _, of, _), _)| *of == dimension);
            prop_assert_eq!(values.map(|(_, clicks)| clicks).sum::<u64>(), clicks);
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
    assert_eq!(rollup.links.len(), 1);
    let named: Vec<&str> = rollup.profiles.keys().map(ProfileId::as_str).collect();
    assert_eq!(named, ["p1", "p2", "p3"], "neither the unknown nor the unfit");
    assert!(!rollup.profiles[&profile(2)].is_blank() && rollup.profiles[&profile(1)].is_blank());
    assert_eq!(rollup.milestones.len(), 1);
    assert!(rollup.profile_hours.is_empty() && rollup.audience.is_empty());
    assert!(rollup.link_hours.is_empty() && rollup.profile_visitors.is_empty());
}

#[test]
fn whoever_nobody_can_tell_apart_is_counted_but_is_no_visitor() {
    let view = json!({"type": "profile.viewed", "timestamp": 0, "data": {"profile_id": "p1"}});
    let rollup = fold_of(&json!([view, view]));
    assert_eq!(rollup.profile_hours[&(profile(1), Hour(0))].views, 2);
    assert!(rollup.profile_visitors.is_empty());
}

#[test]
fn a_dub_click_fills_the_projection() {
    let body = json!({
        "id": "e", "event": "link.clicked", "createdAt": "2025-11-24T15:00:00Z",
        "data": {"link": {"id": "l1", "workspaceId": "p1", "title": "Shop"}},
    });
    let rollup = fold(&events(&source(Scheme::dub()), body.to_string()).unwrap());
    let state = &rollup.links[&(profile(1), link(1))];
    assert_eq!(state.title.as_ref().expect("said").value, "Shop");
    assert_eq!(rollup.link_hours.len(), 1);
}
