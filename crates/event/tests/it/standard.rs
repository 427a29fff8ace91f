//! Standard Webhooks 1.0: its published example, its reference library as an oracle, its lists of
//! signatures, and its identities.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use proptest::prelude::*;
use standardwebhooks::Webhook;
use treehook_event::{
    Claim, KeyEncoding, Rejection, Scheme, SigningKey, Timestamp, parse, sign, verify,
};

use crate::setup::{
    Headers, WHSEC, belief, context, event, events, find, now, replace, signed, source,
};

#[test]
fn the_published_example_holds() {
    let source = source(Scheme::standard());
    let headers: Headers = vec![
        ("webhook-id".into(), b"msg_p5jXN8AQM9LWM0D4loKWxJek".to_vec()),
        ("webhook-timestamp".into(), b"1614265330".to_vec()),
        ("webhook-signature".into(), b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_vec()),
    ];
    let claim = Claim::read(&source.scheme, |name| find(&headers, name)).unwrap();
    let at = Timestamp::from_seconds(1_614_265_330);
    let body = br#"{"test": 2432232314}"#;
    let verified = verify(&source, &claim, body, at).unwrap();
    assert_eq!(verified.id(), Some(&b"msg_p5jXN8AQM9LWM0D4loKWxJek"[..]));
    assert_eq!(verified.body(), body);
    assert!(verify(&source, &claim, br#"{"test": 2432232315}"#, at).is_err());
}

/// The reference library reads the wall clock itself.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the year 292 million"))
}

fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let pairs = headers.iter().map(|(name, value)| {
        (name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"))
    });
    pairs.collect()
}

proptest! {
    /// What the reference signs we accept, what we sign it accepts, what is tampered with neither.
    #[test]
    fn we_agree_with_the_reference_library(
        key in prop::collection::vec(any::<u8>(), 1..80),
        id in "[!-~]{1,60}",
        body in "\\PC{0,300}",
        tampered in "\\PC{0,300}",
    ) {
        let now = wall_clock();
        let reference = Webhook::from_bytes(key.clone()).unwrap();
        let mut source = source(Scheme::standard());
        source.keys = vec![SigningKey::from_bytes(&key)];

        let seconds = now.as_seconds();
        let theirs: Vec<(String, String)> = vec![
            ("webhook-id".into(), id.clone()),
            ("webhook-timestamp".into(), seconds.to_string()),
            ("webhook-signature".into(), reference.sign(&id, seconds, body.as_bytes()).unwrap()),
        ];
        let ours = sign(&source.scheme, &source.keys[0], &id, now, body.as_bytes());
        for headers in [theirs, ours] {
            let map = header_map(&headers);
            let bytes: Headers =
                headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
            let claim = Claim::read(&source.scheme, |name| find(&bytes, name)).unwrap();
            for (text, good) in [(&body, true), (&tampered, tampered == body)] {
                prop_assert_eq!(verify(&source, &claim, text.as_bytes(), now).is_ok(), good);
                prop_assert_eq!(reference.verify(text.as_bytes(), &map).is_ok(), good);
            }
        }
    }
}

#[test]
fn one_good_signature_in_the_list_is_enough_if_it_stands_among_the_first_sixteen() {
    let source = source(Scheme::standard());
    let body = b"{}";
    let good = signed(&source, body);
    let mac = String::from_utf8(good[1].1.clone()).unwrap();
    assert!(mac.starts_with("v1,"));
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let other_versions = "v1a,abc v2,xyz v3,";
    for (case, list, fits) in [
        ("alone", mac.clone(), true),
        ("last", format!("{wrong} {mac}"), true),
        ("first", format!("{mac} {wrong}"), true),
        ("among other versions", format!("{other_versions} {mac}"), true),
        ("many other versions", format!("{} {mac}", other_versions.repeat(100)), true),
        ("spaces", format!("  {mac}   {wrong} "), true),
        ("sixteenth", format!("{}{mac}", format!("{wrong} ").repeat(15)), true),
        ("seventeenth", format!("{}{mac}", format!("{wrong} ").repeat(16)), false),
        ("only others", other_versions.to_owned(), false),
        ("another version's name", mac.replace("v1,", "v2,"), false),
        ("upper-case version", mac.replace("v1,", "V1,"), false),
        ("no version", mac.replace("v1,", ""), false),
        ("comma list", format!("{wrong},{mac}"), false),
        ("empty", String::new(), false),
    ] {
        let mut headers = good.clone();
        replace(&mut headers, "webhook-signature", list);
        let expected = if fits { Ok(0) } else { Err(Rejection::InvalidSignature) };
        assert_eq!(belief(&source, &headers, body), expected, "{case}");
    }
}

#[test]
fn a_secret_is_the_base64_after_its_prefix() {
    assert!(SigningKey::decode(WHSEC, KeyEncoding::Whsec).is_ok());
    let bare = WHSEC.trim_start_matches("whsec_");
    assert!(SigningKey::decode(bare, KeyEncoding::Whsec).is_err());
}

#[test]
fn identity_is_the_signed_message_id_and_data_is_read_by_linktrees_names() {
    let source = source(Scheme::standard());
    let click = r#"{"type":"link.clicked","timestamp":"2025-11-24T15:00:00Z",
        "data":{"profile_id":"p","link_id":"l"}}"#;
    let one = event(&source, click);
    assert_eq!((one.identity.as_str(), one.event_type()), ("msg_1", "link.clicked"));

    let named = click.replacen('{', r#"{"id":"evt_9","#, 1);
    let batch = events(&source, format!("[{click},{named},{click}]")).unwrap();
    let ids: Vec<&str> = batch.iter().map(|event| event.identity.as_str()).collect();
    assert_eq!(ids, ["msg_1#0", "evt_9", "msg_1#2"]);
}

#[test]
fn an_empty_message_id_makes_no_two_deliveries_one() {
    let source = source(Scheme::standard());
    let id_of = |link: &str| {
        let body = format!(
            r#"{{"type":"link.clicked","timestamp":"2025-11-24T15:00:00Z",
            "data":{{"profile_id":"p","link_id":"{link}"}}}}"#
        );
        let headers: Headers = sign(&source.scheme, &source.keys[0], "", now(), body.as_bytes())
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()))
            .collect();
        let claim = Claim::read(&source.scheme, |name| find(&headers, name)).unwrap();
        let verified = verify(&source, &claim, body.as_bytes(), now()).unwrap();
        parse(&verified, &source, &context(), now()).unwrap()[0].identity.clone()
    };
    assert_ne!(id_of("a"), id_of("b"));
    assert_eq!(id_of("a"), id_of("a"));
}
