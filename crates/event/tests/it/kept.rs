//! What is read of a body and what is kept of it, against `serde_json::Value`: however it is written.

use proptest::prelude::*;
use serde_json::{Map, Value};
use treehook_event::{Body, PersonalKeys, Scheme, decode_batch, encode_event, title_of, url_of};

use crate::setup::{event, source};

/// Half of a surrogate pair, and what it is read as. The mark keeps it from meeting another half.
const HALF: &str = r"\ud83d!";
const MENDED: &str = r"\ufffd!";

/// Numbers of every kind that JSON has and a float holds.
const NUMBERS: [&str; 18] = [
    "0",
    "-0",
    "-0.0",
    "7",
    "-7",
    "1.0",
    "1e2",
    "1E+2",
    "0.1",
    "5e-324",
    "1e300",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890.5",
];
/// Pieces of a text, as they stand between its quotes.
const PIECES: [&str; 16] = [
    "a",
    "shop",
    "é",
    "😀",
    "\u{7f}",
    " ",
    "<b>",
    r"\n",
    r#"\""#,
    r"\\",
    r"\/",
    r"\u0041",
    r"\ud83d\ude00",
    r"\u0000",
    HALF,
    "https://a.example/",
];
/// Keys, few enough to be met twice in one object, some in two spellings.
const KEYS: [&str; 22] = [
    "title",
    r"t\u0069tle",
    "url",
    "position",
    "enabled",
    "archived",
    "type",
    "id",
    "kept",
    "email",
    r"\u0065mail",
    "E-Mail",
    "user_agent",
    "ip",
    "customer",
    "buyers",
    "name",
    "first_name",
    "link",
    "customer_email",
    "ünïcode",
    r"a\nb",
];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..4)
        .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// An object as somebody may write it: a key may come twice, white space may stand anywhere.
fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t"]);
    let field = (prop::sample::select(KEYS.to_vec()), space, value)
        .prop_map(|(key, space, value)| format!("\"{key}\"{space}:{space}{value}"));
    prop::collection::vec(field, 0..12).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        prop::sample::select(NUMBERS.to_vec()).prop_map(str::to_owned),
        text(),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            object(inner),
        ]
    })
}

/// The fields of an envelope, read the plain way.
fn reference(envelope: &str) -> (Value, Map<String, Value>) {
    let envelope = envelope.replace(HALF, MENDED);
    let Value::Object(mut envelope) = serde_json::from_str(&envelope).expect("JSON") else {
        panic!("an object");
    };
    let Some(Value::Object(mut data)) = envelope.remove("data") else { panic!("an object") };
    let given = data.clone();
    for (field, value) in envelope {
        if !["type", "timestamp", "id"].contains(&field.as_str()) {
            data.entry(field).or_insert(value);
        }
    }
    let mut kept = Value::Object(data);
    PersonalKeys::default().redact(&mut kept);
    (kept, given)
}

proptest! {
    #[test]
    fn what_is_kept_and_read_is_what_serde_json_keeps_and_reads(
        data in object(value()),
        beside in object(value()),
        batch in any::<bool>(),
    ) {
        let beside = &beside[1..beside.len() - 1];
        let comma = if beside.is_empty() { "" } else { "," };
        // Of what is given twice the last one counts, in the envelope too.
        let envelope = format!(
            r#"{{"data":7{comma}{beside},"data":{data},"profile_id":"p","id":"e","timestamp":0,"type":"custom"}}"#
        );
        let (kept, _) = reference(&envelope);
        let body = if batch { format!(" [{envelope} ]") } else { format!("\n{envelope} ") };
        let got = event(&source(Scheme::linktree()), body);
        prop_assert_eq!(&*got.payload, kept.to_string());
        prop_assert_eq!(got.identity.as_str(), "e");
        prop_assert_eq!(decode_batch(encode_event(&got).as_bytes()), Ok(vec![got]));
    }

    #[test]
    fn a_links_fields_are_what_serde_json_reads(data in object(value())) {
        let data = data.replacen('{', r#"{"profile_id":7,"link_id":"\u006c1","#, 1);
        let data = data.replace(",}", "}");
        let envelope = format!(r#"{{"type":"link.updated","timestamp":0,"data":{data}}}"#);
        let (_, given) = reference(&envelope);
        let got = event(&source(Scheme::linktree()), &envelope);
        let Body::Link(change) = &got.body else { panic!("{:?}", got.body) };
        prop_assert_eq!((change.profile_id.as_str(), change.link_id.as_str()), ("7", "l1"));
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let flag = |name: &str| given.get(name).and_then(Value::as_bool);
        prop_assert_eq!(&change.fields.title, &text("title").map(title_of));
        prop_assert_eq!(&change.fields.url, &text("url").map(url_of));
        let enabled = match given.get("enabled") {
            None | Some(Value::Null) => None,
            Some(value) => value.as_bool(),
        };
        prop_assert_eq!(change.fields.enabled, enabled.or(flag("archived").map(|on| !on)));
        let position = match given.get("position") {
            Some(Value::Number(number)) => number.as_i64().or_else(|| {
                let float = number.as_f64().expect("every number has one");
                #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
                (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
            }),
            _ => None,
        };
        prop_assert_eq!(change.fields.position, position);
    }
}

#[test]
fn of_a_key_that_is_given_twice_the_last_one_counts_and_nothing_is_left_of_the_first() {
    let linktree = source(Scheme::linktree());
    for (data, kept) in [
        (r#"{"email":"a@b.c","title":"a","title":"b"}"#, r#"{"title":"b"}"#),
        (r#"{"title":"b","email":"a@b.c","email":"d@e.f"}"#, r#"{"title":"b"}"#),
        (r#"{"t\u0069tle":"a","title":"b"}"#, r#"{"title":"b"}"#),
        (r#"{"title":"a","t\u0069tle":null}"#, r#"{"title":null}"#),
        (
            r#"{"x":{"email":"a@b.c"},"x":{"y":1,"y":{"\u0069p":"1","z":2}}}"#,
            r#"{"x":{"y":{"z":2}}}"#,
        ),
    ] {
        let envelope = format!(r#"{{"type":"custom","timestamp":0,"data":{data}}}"#);
        assert_eq!(&*event(&linktree, envelope).payload, kept);
    }
}

#[test]
fn the_order_and_the_number_of_fields_make_no_difference() {
    let linktree = source(Scheme::linktree());
    let field = |number: u32| format!(r#""k{}":{number}"#, number * 7919 % 3000);
    let fields: Vec<String> = (0..6000).map(field).collect();
    let envelope = format!(r#"{{"type":"custom","timestamp":0,"data":{{{}}}}}"#, fields.join(","));
    let (kept, _) = reference(&envelope);
    assert_eq!(kept.as_object().map(Map::len), Some(3000));
    assert_eq!(&*event(&linktree, &envelope).payload, kept.to_string());
}
