//! What is written to the broker and the outbox comes back the same, and damage is an error.

use proptest::prelude::*;
use serde_json::{Value, json};
use treehook_event::{Body, Event, decode_batch, encode_batch, encode_event};

use crate::setup::{built_in, events, now};

/// Any JSON at all.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(json!("https://a.example/x")),
        Just(json!("javascript:alert(1)")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Data whose fields have the platforms' names and any value.
fn data() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 26] = [
        "profile_id",
        "link_id",
        "id",
        "visitor_id",
        "ip",
        "user_agent",
        "country",
        "referrer",
        "device",
        "clicked_at",
        "viewed_at",
        "title",
        "url",
        "type",
        "position",
        "enabled",
        "active",
        "archived",
        "thumbnail",
        "username",
        "avatar_url",
        "metric",
        "threshold",
        "click",
        "link",
        "workspaceId",
    ];
    let value = prop_oneof![
        3 => "[a-z0-9]{1,12}".prop_map(Value::from),
        1 => json_value(),
        1 => prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), json_value(), 0..8)
            .prop_map(|fields| json!(fields)),
    ];
    prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), value, 0..26)
        .prop_map(|fields| json!(fields))
}

const TYPES: [&str; 9] = [
    "link.clicked",
    "link.click",
    "profile.viewed",
    "link.created",
    "link.updated",
    "link.deleted",
    "profile.updated",
    "analytics.milestone",
    "\u{202e}odd \"type\"\n",
];

/// The same batch by every platform.
fn batches(data: &[Value], event_type: &str, time: i64) -> Vec<Event> {
    let at = now().plus_millis(time).to_rfc3339();
    let linktree: Vec<Value> = data
        .iter()
        .map(|data| json!({"type": event_type, "timestamp": at, "data": data, "extra": "é"}))
        .collect();
    let dub: Vec<Value> = data
        .iter()
        .map(|data| json!({"id": "e", "event": event_type, "createdAt": at, "data": data}))
        .collect();
    let bodies = [json!(linktree), json!(dub), json!(linktree)];
    let pairs = built_in().into_iter().zip(bodies);
    pairs.flat_map(|(source, body)| events(&source, body.to_string()).expect("good")).collect()
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(
        data in prop::collection::vec(data(), 1..4),
        event_type in prop::sample::select(TYPES.to_vec()),
        time in -1_000_000_000_i64..1_000_000_000_000,
    ) {
        let events = batches(&data, event_type, time);
        let bytes = encode_batch(&events);
        prop_assert_eq!(&decode_batch(&bytes).expect("our own batch"), &events);
        // It is JSON to everybody else too.
        let wire: Vec<Value> = serde_json::from_slice(&bytes).expect("JSON");
        for (value, event) in wire.iter().zip(&events) {
            prop_assert_eq!(&value["specversion"], "1.0");
            prop_assert_eq!(&value["id"], event.identity.as_str());
            prop_assert!(value["type"].as_str().is_some_and(|name| !name.is_empty()));
            prop_assert_eq!(&value["source"], &format!("/webhooks/{}", event.source));
            let subject = event.profile_id().map(|profile| match event.link_id() {
                Some(link) => format!("{profile}/{link}"),
                None => profile.to_string(),
            });
            prop_assert_eq!(value["subject"].as_str(), subject.as_deref());
            let alone = encode_event(event);
            let body = serde_json::to_string(&event.body).expect("JSON");
            prop_assert!(alone.contains(&format!(r#""data":{{"event":{body},"payload":"#)), "{}", alone);
            prop_assert_eq!(decode_batch(alone.as_bytes()).expect("our own"), vec![event.clone()]);
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        data in data(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode_batch(&batches(&[data], "link.clicked", 0));
        let at = at.index(bytes.len());
        prop_assert!(decode_batch(&bytes[..at]).is_err(), "cut off");
        bytes[at] = byte;
        // Damage may happen to leave a batch of ours behind; then it is one that can be written.
        if let Ok(events) = decode_batch(&bytes) {
            prop_assert_eq!(decode_batch(&encode_batch(&events)).expect("our own"), events);
        }
    }
}

#[test]
fn what_is_not_a_batch_of_ours_says_where_and_not_what() {
    let good = encode_event(&batches(&[json!({"profile_id": "p"})], "profile.viewed", 0)[0]);
    for (case, bytes) in [
        ("empty", String::new()),
        ("no JSON", "MARK".to_owned()),
        ("a number", "7".to_owned()),
        ("another version", good.replace("\"1.0\"", "\"MARK\"")),
        ("another source", good.replace("/webhooks/", "/MARK/")),
        ("another time", good.replace("\"time\":\"2025", "\"time\":\"MARK")),
        ("another receipt", good.replace("\"receivedtime\":\"2025", "\"receivedtime\":\"MARK")),
        ("another body", good.replace("\"visit\"", "\"MARK\"")),
        ("trailing", format!("{good}MARK")),
    ] {
        let said = decode_batch(bytes.as_bytes()).expect_err(case).to_string();
        assert!(!said.contains("MARK"), "{case}: {said}");
    }
    assert_eq!(decode_batch(b"[]"), Ok(Vec::new()));
    assert_eq!(decode_batch(format!(" \n[{good}]").as_bytes()).unwrap().len(), 1);
}

#[test]
fn the_neighbours_of_an_element_that_cannot_be_read_are_kept() {
    let good = encode_event(&batches(&[json!({"profile_id": "p"})], "profile.viewed", 0)[0]);
    let newer = good.replace("\"visit\"", "\"something_newer\"");
    let events = decode_batch(format!("[{good},{newer},{good}]").as_bytes()).unwrap();
    let reasons: Vec<bool> =
        events.iter().map(|event| matches!(event.body, Body::Unfit { .. })).collect();
    assert_eq!(reasons, [false, true, false]);
    // Once a version understands it, it is worth another try.
    let restored = Event { payload: json!(good).to_string().into(), ..events[1].clone() };
    assert_eq!(restored.retried(), [events[0].clone()]);
    assert_eq!(events[1].clone().retried().len(), 1);
}

#[test]
fn an_unreadable_batch_becomes_one_event_that_can_be_moved() {
    for bytes in [&b"\xff\xfe not JSON"[..], b"", b"{\"half\":"] {
        let event = Event::unreadable(bytes, "at line 1", now());
        assert_eq!(event.unfit(now(), i64::MAX), Some("undecodable:at line 1"));
        assert_eq!(decode_batch(&encode_batch(std::slice::from_ref(&event))), Ok(vec![event]));
    }
}

/// A pointer to each text inside.
fn texts(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| texts(item, &format!("{at}/{i}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| texts(field, &format!("{at}/{name}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

#[test]
fn a_text_with_nul_is_not_read_wherever_it_stands_but_in_the_payload() {
    let data = json!({
        "profile_id": "p", "link_id": "l", "visitor_id": "v", "country": "DE", "title": "t",
        "referrer": "https://a.example/", "url": "https://b.example/", "type": "classic",
        "thumbnail": "https://c.example/", "username": "u", "display_name": "d", "bio": "b",
        "avatar_url": "https://d.example/", "theme": "air", "metric": "clicks", "threshold": 1,
        "other": "o\0", "link": {"id": "l", "workspaceId": "p", "title": "t", "url": "https://e.example/"},
        "click": {"id": "c", "timestamp": now().to_rfc3339(), "country": "DE", "referer": "a.example"},
    });
    let mut seen = 0;
    for event in TYPES.iter().flat_map(|name| batches(std::slice::from_ref(&data), name, 0)) {
        if matches!(event.body, Body::Unfit { .. }) {
            continue;
        }
        let good: Value = serde_json::from_str(&encode_event(&event)).unwrap();
        assert_eq!(good["data"]["payload"]["other"], "o\0");
        let mut places = vec!["/id".to_owned(), "/source".to_owned()];
        texts(&good["data"]["event"], "/data/event", &mut places);
        for place in places {
            let mut bad = good.clone();
            let text = bad.pointer_mut(&place).unwrap();
            *text = format!("{}\0", text.as_str().unwrap()).into();
            let events = decode_batch(json!([good, bad]).to_string().as_bytes()).unwrap();
            assert_eq!(events[0], event);
            let reason = events[1].unfit(now(), i64::MAX).unwrap_or_else(|| panic!("{place}"));
            assert!(reason.starts_with("undecodable:"), "{place}: {reason}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_is_rare_makes_no_event_larger() {
    // Batches of thousands are moved from hand to hand.
    assert!(size_of::<Event>() <= 256, "{} bytes", size_of::<Event>());
}
