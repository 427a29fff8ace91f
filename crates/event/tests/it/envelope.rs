//! Envelopes of every platform: identity, event time, arrays, and how faults are told.

use treehook_event::{BATCH_MAX, Rejection, Scheme, Timestamp};

use crate::setup::{complaint, event, events, now, source};

const VIEW: &str =
    r#"{"type":"profile.viewed","timestamp":"2025-11-24T15:00:00Z","data":{"profile_id":"p"}}"#;

#[test]
fn identity_is_the_envelopes_id_or_the_digest_of_its_bytes() {
    let linktree = source(Scheme::linktree());
    let with_id = |id: &str| VIEW.replacen('{', &format!(r#"{{"id":{id},"#), 1);
    let long = "x".repeat(201);
    for (id, identity) in [
        (r#""evt_1""#, Some("evt_1")),
        ("42", Some("42")),
        (r#""ünïcode""#, Some("ünïcode")),
        ("null", None),
        (&format!("\"{long}\""), None),
        (r#""a\nb""#, None),
    ] {
        let got = event(&linktree, with_id(id)).identity;
        match identity {
            Some(identity) => assert_eq!(got.as_str(), identity),
            None => assert!(got.as_str().starts_with("sha256:"), "{got}"),
        }
    }
    let unnamed = event(&linktree, VIEW).identity;
    assert_eq!(unnamed, event(&linktree, VIEW).identity, "a retry");
    assert_eq!(unnamed, event(&linktree, format!(" {VIEW}\n")).identity, "white space around");
    assert_eq!(unnamed, events(&linktree, format!("[{VIEW}]")).unwrap()[0].identity);
    assert_ne!(unnamed, event(&linktree, VIEW.replace("\":", "\": ")).identity, "other bytes");
}

#[test]
fn every_form_of_time_is_read() {
    let linktree = source(Scheme::linktree());
    for (written, millis) in [
        (r#""2025-11-24T15:00:00Z""#, 1_763_996_400_000),
        (r#""2025-11-24T16:00:00.250+01:00""#, 1_763_996_400_250),
        ("1763996400", 1_763_996_400_000),
        ("1763996400250", 1_763_996_400_250),
        ("1763996400.25", 1_763_996_400_250),
        ("1763996400250.75", 1_763_996_400_250),
        (r#""1763996400""#, 1_763_996_400_000),
        (r#""1763996400250""#, 1_763_996_400_250),
        ("0", 0),
        ("-1", -1000),
        (r#""9999-12-31T23:59:59-12:00""#, 253_402_300_799_999),
    ] {
        let body = VIEW.replace(r#""2025-11-24T15:00:00Z""#, written);
        assert_eq!(event(&linktree, body).occurred_at, Timestamp::from_millis(millis), "{written}");
    }
}

#[test]
fn a_visits_own_time_goes_before_the_envelopes() {
    let linktree = source(Scheme::linktree());
    for (kind, own) in [("link.clicked", "clicked_at"), ("profile.viewed", "viewed_at")] {
        for (value, millis) in [
            (r#""2025-11-24T14:00:00Z""#, 1_763_992_800_000),
            ("1763992800123", 1_763_992_800_123),
            ("null", 1_763_996_400_000),
            (r#""yesterday""#, 1_763_996_400_000),
        ] {
            let data = format!(r#"{{"profile_id":"p","link_id":"l","{own}":{value}}}"#);
            let body =
                format!(r#"{{"type":"{kind}","timestamp":"2025-11-24T15:00:00Z","data":{data}}}"#);
            let got = event(&linktree, body);
            assert_eq!(got.occurred_at.as_millis(), millis, "{kind} {value}");
            assert_eq!(got.received_at, now());
        }
    }
}

#[test]
fn an_array_holds_one_to_a_thousand() {
    let linktree = source(Scheme::linktree());
    let batch = |count| format!("[{}]", vec![VIEW; count].join(","));
    for count in [1, 2, BATCH_MAX] {
        assert_eq!(events(&linktree, batch(count)).unwrap().len(), count);
    }
    for count in [0, BATCH_MAX + 1] {
        assert!(complaint(&linktree, batch(count)).contains(&format!("not {count}")));
    }
}

#[test]
fn a_fault_names_its_place_and_never_the_payload() {
    let linktree = source(Scheme::linktree());
    for (fault, says) in [
        (r#"{"timestamp":0,"data":{}}"#, "`type` is missing"),
        (r#"{"type":7,"timestamp":0,"data":{}}"#, "`type`: expected a string, found a number"),
        (r#"{"type":" ","timestamp":0,"data":{}}"#, "`type` is empty"),
        (r#"{"type":"MARK","data":{}}"#, "`timestamp` is missing"),
        (r#"{"type":"x","timestamp":"MARK","data":{}}"#, "`timestamp`: expected"),
        (r#"{"type":"x","timestamp":null,"data":{}}"#, "`timestamp`: expected"),
        (r#"{"type":"x","timestamp":["MARK"],"data":{}}"#, "`timestamp`: expected"),
        (r#"{"type":"x","timestamp":0}"#, "`data` is missing"),
        (
            r#"{"type":"x","timestamp":0,"data":"MARK"}"#,
            "`data`: expected an object, found a string",
        ),
        (r#"{"type":"x","timestamp":0,"data":["MARK"]}"#, "found an array"),
        (r#"{"type":"x","timestamp":0,"data":{},"id":{"MARK":1}}"#, "`id`: expected a string"),
        (r#"{"type":"x","timestamp":0,"data":{},"id":""}"#, "`id` is empty"),
        (r#"{"type":"x","timestamp":0,"data":{"MARK":1e999}}"#, "out of range"),
        (r#""MARK""#, "expected an object, found a string"),
        ("null", "expected an object, found null"),
        (r#"[{"MARK":1}]"#, "expected an object, found an array"),
    ] {
        for index in [0, 1, 7] {
            let mut batch = [VIEW; 9];
            batch[index] = fault;
            let said = complaint(&linktree, format!("[{}]", batch.join(",")));
            assert!(said.starts_with(&format!("envelope [{index}]: ")), "{said}");
            assert!(said.contains(says), "{fault}: {said}");
            assert!(!said.contains("MARK"), "{said}");
        }
    }
    let said = complaint(&linktree, r#"{"type":"x","timestamp":0}"#);
    assert_eq!(said, "envelope: `data` is missing");
}

#[test]
fn what_is_not_json_is_told_by_line_and_column() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let deep_data = format!(r#"{{"type":"x","timestamp":0,"data":{{"MARK":{deep}}}}}"#);
    for source in crate::setup::built_in() {
        for body in [
            &b"MARK"[..],
            b"",
            b"{\"MARK\":",
            b"{} MARK",
            b"[{},MARK]",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\x01\"}",
            b"NaN",
            deep.as_bytes(),
            deep_data.as_bytes(),
        ] {
            let said = complaint(&source, body);
            assert!(!said.contains("MARK"), "{said}");
        }
    }
    let said = complaint(&source(Scheme::linktree()), "{\n  \"type\": MARK");
    assert_eq!(said, "not JSON at line 2, column 11");
}

#[test]
fn unknown_fields_are_kept_wherever_they_stand() {
    let linktree = source(Scheme::linktree());
    let body = r#"{"type":"link.created","timestamp":0,"api_version":"2","id":"e",
        "data":{"profile_id":"p","link_id":"l","sensitive":{"a":[1,2]},"workspace":"w"},
        "workspace":"outer"}"#;
    let payload = event(&linktree, body).payload;
    assert!(payload.contains(r#""sensitive":{"a":[1,2]}"#), "{payload}");
    assert!(payload.contains(r#""api_version":"2""#), "{payload}");
    // The data's own field goes before an envelope's of the same name.
    assert!(payload.contains(r#""workspace":"w""#), "{payload}");
}

#[test]
fn one_refused_envelope_refuses_the_array() {
    let dub = source(Scheme::dub());
    let good = r#"{"id":"e","event":"lead.created","createdAt":"2025-11-24T15:00:00Z","data":{}}"#;
    let ancient = good.replace("2025", "2001");
    let said = events(&dub, format!("[{good},{ancient}]"));
    assert_eq!(said, Err(Rejection::StaleTimestamp));
    assert_eq!(events(&dub, format!("[{good},{good}]")).unwrap().len(), 2);
}
