//! Personal data leaves the receiver's memory nowhere: planted at random, it is never found again.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use treehook_event::{DeadLetter, encode_batch};

use crate::setup::{built_in, events, now};

/// What no output may hold.
const MARK: &str = "MARKED-PERSONAL-DATA";

/// Keys that name a person wherever they stand, in the spellings of several languages.
const PERSONAL: [&str; 14] = [
    "ip",
    "IP",
    "user_agent",
    "userAgent",
    "User-Agent",
    "ua",
    "visitor_id",
    "visitorId",
    "email",
    "Email_Address",
    "phone",
    "phone_number",
    "avatar",
    "ip_address",
];
/// Objects that describe a person, and the keys that name one inside them.
const PERSONS: [&str; 4] = ["customer", "user", "visitor", "Lead"];
const INSIDE: [&str; 4] = ["name", "first_name", "lastName", "address"];

/// A value that holds the mark, plainly or wrapped.
fn marked() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(MARK)),
        Just(json!(format!("198.51.100.7 {MARK}"))),
        Just(json!([MARK])),
        Just(json!({"value": MARK, MARK: 1})),
    ]
}

/// An object with marks under personal keys and none elsewhere, at any depth.
fn planted() -> impl Strategy<Value = Value> {
    let personal = (prop::sample::select(PERSONAL.to_vec()), marked());
    let person = (
        prop::sample::select(PERSONS.to_vec()),
        prop::collection::vec((prop::sample::select(INSIDE.to_vec()), marked()), 1..3),
    );
    let plain = ("[a-z]{3,8}", prop_oneof![Just(json!("kept")), Just(json!(1)), Just(json!(null))]);
    let leaf = (
        prop::collection::vec(personal, 0..4),
        prop::collection::vec(person, 0..2),
        prop::collection::vec(plain, 0..3),
    )
        .prop_map(|(personal, persons, plain)| {
            let mut fields = Map::new();
            fields.extend(plain.into_iter().map(|(key, value)| (format!("plain_{key}"), value)));
            fields.extend(personal.into_iter().map(|(key, value)| (key.to_owned(), value)));
            for (key, inside) in persons {
                let inside = inside.into_iter().map(|(key, value)| (key.to_owned(), value));
                fields.insert(key.to_owned(), Value::Object(inside.collect()));
            }
            Value::Object(fields)
        });
    leaf.prop_recursive(4, 24, 3, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..3), any::<bool>()).prop_map(
            |(mut outer, inner, listed)| {
                let fields = outer.as_object_mut().expect("an object");
                if listed {
                    fields.insert("items".to_owned(), Value::Array(inner));
                } else {
                    let keys = ["click", "link", "customer"];
                    let named = keys.iter().map(|key| (*key).to_owned()).zip(inner);
                    fields.extend(named);
                }
                outer
            },
        )
    })
}

/// The same data in the envelope of every platform.
fn envelopes(event_type: &str, data: &Value, beside: &Value) -> [Value; 3] {
    let time = "2025-11-24T15:00:00Z";
    let mut linktree = json!({"type": event_type, "timestamp": time, "data": data});
    let mut dub = json!({"id": "e", "event": event_type, "createdAt": time, "data": data});
    for envelope in [&mut linktree, &mut dub] {
        let fields = envelope.as_object_mut().expect("an object");
        for (key, value) in beside.as_object().expect("an object") {
            fields.entry(key.clone()).or_insert(value.clone());
        }
    }
    [linktree.clone(), dub, linktree]
}

proptest! {
    #[test]
    fn personal_data_is_in_nothing_that_leaves(
        event_type in prop::sample::select(vec![
            "link.clicked", "profile.viewed", "link.created", "profile.updated", "link.deleted",
            "analytics.milestone", "lead.created", "some.other",
        ]),
        mut data in planted(),
        beside in planted(),
        whole in any::<bool>(),
    ) {
        if whole {
            let fields = data.as_object_mut().expect("an object");
            fields.insert("profile_id".into(), json!("p"));
            fields.insert("link_id".into(), json!("l"));
            fields.insert("id".into(), json!("l"));
            fields.insert("workspaceId".into(), json!("p"));
        }
        let envelopes = envelopes(event_type, &data, &beside);
        for (source, envelope) in built_in().iter().zip(envelopes) {
            let events = events(source, envelope.to_string()).expect("a good envelope");
            let wire = String::from_utf8(encode_batch(&events)).expect("UTF-8");
            let letter = DeadLetter::of(&events[0], "missing_field:link_id", now());
            for output in [wire, format!("{events:?}"), format!("{letter:?}")] {
                prop_assert!(!output.contains(MARK), "{}", output);
            }
        }
    }
}

#[test]
fn what_stands_deeper_inside_a_person_is_about_them() {
    let data = json!({"customer": {"profile": {"name": MARK, "emails": [{"email": MARK}]},
        "list": [[{"first_name": MARK, "plan": "kept"}]]}});
    let [linktree, _, _] = envelopes("some.other", &data, &json!({}));
    let payload = &events(&built_in()[0], linktree.to_string()).unwrap()[0].payload;
    assert!(!payload.contains(MARK) && payload.contains("kept"), "{payload}");
}

#[test]
fn what_does_not_name_a_person_is_kept() {
    let data = json!({"profile_id": "p", "link": {"name": "kept-1"}, "city": "kept-2",
        "ship": "kept-3", "list": [{"title": "kept-4"}]});
    let [linktree, _, _] = envelopes("some.other", &data, &json!({}));
    let payload = &events(&built_in()[0], linktree.to_string()).unwrap()[0].payload;
    for kept in ["kept-1", "kept-2", "kept-3", "kept-4"] {
        assert!(payload.contains(kept), "{payload}");
    }
}
