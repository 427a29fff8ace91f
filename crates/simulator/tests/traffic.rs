//! Traffic is the same for the same seed, and counts as it says it does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_precision_loss, reason = "shares of some thousands")]

use std::collections::{BTreeMap, HashMap, HashSet};

use treehook_event::{
    Body, Claim, Context, Event, Found, Key, PersonalKeys, Platform, Rejection, Rollup, Scheme,
    SigningKey, Sketch, Source, SourceName, Timestamp, VisitorKey, fold, parse, sign, verify,
};
use treehook_simulator::{Delivery, DeliveryKind, Expected, Traffic, TrafficPlan};

const DAY_MS: i64 = 86_400_000;

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-24T07:05:20Z").unwrap()
}

fn plan(platform: Platform) -> TrafficPlan {
    TrafficPlan { platform, seed: 7, events: Some(6000), ..TrafficPlan::default() }
}

/// Everything the plan makes, and what it expects to be counted.
fn all(plan: TrafficPlan) -> (Vec<Delivery>, Expected) {
    let mut traffic = Traffic::new(plan, now()).unwrap().with_expected();
    let deliveries = std::iter::from_fn(|| traffic.next_delivery(now())).collect();
    (deliveries, traffic.expected().unwrap().clone())
}

fn source(platform: Platform) -> Source {
    let scheme = match platform {
        Platform::Linktree => Scheme::linktree(),
        Platform::Dub => Scheme::dub(),
        Platform::Standard => Scheme::standard(),
    };
    Source {
        name: SourceName::new("s").unwrap(),
        scheme,
        keys: vec![SigningKey::from_bytes(b"key")],
        tolerance_seconds: 300,
    }
}

/// The delivery as a receiver takes it in.
fn taken_in(delivery: &Delivery, source: &Source) -> Result<Vec<Event>, Rejection> {
    let key = match delivery.kind {
        DeliveryKind::Fresh | DeliveryKind::Repeat => source.keys[0].clone(),
        DeliveryKind::Forged => SigningKey::from_bytes(b"another key"),
    };
    let headers: HashMap<String, String> =
        sign(&source.scheme, &key, &delivery.id, now(), &delivery.body).into_iter().collect();
    let find = |name: &str| headers.get(name).map_or(Found::Absent, |v| Found::Once(v.as_bytes()));
    let claim = Claim::read(&source.scheme, find)?;
    let verified = verify(source, &claim, &delivery.body, now())?;
    let context = Context {
        visitors: VisitorKey::new(b"0123456789abcdef").unwrap(),
        personal: PersonalKeys::default(),
        dedupe_window_ms: 400 * DAY_MS,
    };
    parse(&verified, source, &context, now())
}

/// Counts as a receiver does: each identity once.
fn counted(deliveries: &[Delivery], platform: Platform) -> (Vec<Event>, u64) {
    let source = source(platform);
    let mut seen: HashSet<Key> = HashSet::new();
    let (mut fresh, mut repeated) = (Vec::new(), 0);
    for delivery in deliveries {
        match taken_in(delivery, &source) {
            Ok(events) => {
                for event in events {
                    if seen.insert(event.key()) {
                        fresh.push(event);
                    } else {
                        repeated += 1;
                    }
                }
            }
            Err(Rejection::InvalidSignature) => assert_eq!(delivery.kind, DeliveryKind::Forged),
            Err(other) => panic!("{other}"),
        }
    }
    (fresh, repeated)
}

fn assert_near(sketch: &Sketch, exact: usize) {
    let off = (sketch.count() as f64 / exact as f64 - 1.0).abs();
    assert!(off < 0.06, "{} for {exact}", sketch.count());
}

fn assert_matches(rollup: &Rollup, expected: &Expected) {
    assert_eq!(rollup.profiles().count(), expected.profiles.len());
    for (profile_id, expected) in &expected.profiles {
        let of_profile = |id: &treehook_event::ProfileId| id.as_str() == profile_id;
        let hours = rollup.profile_hours().filter(|(id, ..)| of_profile(id));
        let (views, clicks) = hours.fold((0, 0), |(v, c), (.., n)| (v + n.views, c + n.clicks));
        assert_eq!((views, clicks), (expected.views, expected.clicks));
        let mut visitors = Sketch::for_profile();
        rollup
            .profile_visitors()
            .filter(|(id, ..)| of_profile(id))
            .for_each(|(.., sketch)| visitors.merge(sketch));
        assert_near(&visitors, expected.visitors());
        let milestones = rollup.milestones.iter().filter(|m| of_profile(&m.milestone.profile_id));
        assert_eq!(milestones.count() as u64, expected.milestones);
        for (link_id, expected) in &expected.links {
            let hours = rollup.link_hours().filter(|(_, id, ..)| id.as_str() == link_id);
            assert_eq!(hours.map(|(.., clicks)| clicks).sum::<u64>(), expected.clicks);
            let mut visitors = Sketch::for_link();
            rollup
                .link_visitors()
                .filter(|(_, id, ..)| id.as_str() == link_id)
                .for_each(|(.., sketch)| visitors.merge(sketch));
            if expected.visitors() > 0 {
                assert_near(&visitors, expected.visitors());
            }
            let mut states = rollup.links().filter(|(_, id, _)| id.as_str() == link_id);
            let (.., state) = states.next().expect("every link is known");
            assert_eq!(state.deleted.is_some(), expected.deleted);
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_deliveries() {
    for platform in [Platform::Linktree, Platform::Dub, Platform::Standard] {
        let busy = TrafficPlan {
            duplicates: 0.1,
            late: 0.1,
            bad_signatures: 0.1,
            batch: 3,
            ..plan(platform)
        };
        assert!(all(busy.clone()) == all(busy.clone()), "{platform:?}");
        let other = TrafficPlan { seed: 8, ..busy.clone() };
        assert_ne!(all(busy).0[0].body, all(other).0[0].body);
    }
}

#[test]
fn what_is_expected_is_what_a_receiver_counts() {
    for platform in [Platform::Linktree, Platform::Dub, Platform::Standard] {
        for batch in [1, 7] {
            let plan = TrafficPlan {
                duplicates: 0.2,
                late: 0.1,
                bad_signatures: 0.1,
                batch,
                ..plan(platform)
            };
            let (deliveries, expected) = all(plan);
            let (events, repeated) = counted(&deliveries, platform);
            assert_eq!(events.len() as u64, expected.events);
            assert_eq!(expected.events, 6000);
            assert!(repeated > 600);
            let unfit = events.iter().find_map(|e| e.unfit(now(), 400 * DAY_MS));
            assert_eq!(unfit, None);
            let unknown = events.iter().filter(|e| matches!(e.body, Body::Unknown { .. }));
            assert_eq!(unknown.count() as u64, expected.unknown);
            assert_matches(&fold(&events), &expected);
        }
    }
}

#[test]
fn shares_are_kept() {
    let plan = TrafficPlan {
        duplicates: 0.2,
        late: 0.1,
        bad_signatures: 0.05,
        ..plan(Platform::Linktree)
    };
    let (deliveries, _) = all(plan);
    let share = |kind| deliveries.iter().filter(|d| d.kind == kind).count() as f64 / 6000.0;
    assert_eq!(deliveries.iter().filter(|d| d.kind == DeliveryKind::Fresh).count(), 6000);
    assert!((0.17..0.23).contains(&share(DeliveryKind::Repeat)));
    assert!((0.04..0.065).contains(&share(DeliveryKind::Forged)));
    let late = deliveries.iter().filter(|delivery| delivery.kind == DeliveryKind::Fresh).filter(
        |delivery| {
            let envelope: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
            let at = |value: &serde_json::Value| value.as_str().and_then(Timestamp::from_rfc3339);
            let own =
                ["clicked_at", "viewed_at"].iter().find_map(|name| at(&envelope["data"][name]));
            own.is_some_and(|own| at(&envelope["timestamp"]).unwrap().millis_since(own) >= DAY_MS)
        },
    );
    assert!((0.08..0.12).contains(&(late.count() as f64 / 6000.0)));
}

#[test]
fn a_month_looks_like_one() {
    let (deliveries, expected) = all(plan(Platform::Linktree));
    let (events, _) = counted(&deliveries, Platform::Linktree);
    assert!(events.is_sorted_by_key(|event| event.occurred_at));
    let first = events[0].occurred_at;
    assert!((29 * DAY_MS..=30 * DAY_MS).contains(&now().millis_since(first)));
    let views_per_click = expected.views() as f64 / expected.clicks() as f64;
    assert!((2.2..2.8).contains(&views_per_click), "{views_per_click}");

    let mut types: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &events {
        *types.entry(event.event_type()).or_default() += 1;
    }
    for (event_type, count) in
        [("link.created", 24), ("link.updated", 6), ("link.deleted", 3), ("profile.updated", 6)]
    {
        assert_eq!(types[event_type], count);
    }
    assert!(types["analytics.milestone"] >= 3);

    // The first link of a page is the most popular, the first profile the most visited.
    let biggest = &expected.profiles["prof_7_0"];
    assert!(biggest.views > expected.profiles["prof_7_2"].views);
    let first = biggest.links["link_7_0_0"].clicks;
    assert!(first > 3 * biggest.links["link_7_0_5"].clicks);
    // People come back.
    assert!((biggest.visitors() as u64) < biggest.views);
}

#[test]
fn a_short_run_is_not_all_announcements() {
    let (deliveries, expected) = all(TrafficPlan { events: Some(20), ..plan(Platform::Linktree) });
    assert_eq!(deliveries.len(), 20);
    assert!(expected.clicks() + expected.views() >= 10);
}

#[test]
fn without_days_everything_happens_now() {
    let plan = TrafficPlan { days: 0, events: None, ..plan(Platform::Dub) };
    let mut traffic = Traffic::new(plan, now()).unwrap();
    let later = now().plus_millis(5000);
    let delivery = traffic.next_delivery(later).unwrap();
    assert_eq!(taken_in(&delivery, &source(Platform::Dub)).unwrap()[0].occurred_at, later);
}
