//! Every mistake that is known to happen, made and found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use treehook_event::{Encoding, KeyEncoding, PersonalKeys, SigningKey, Timestamp, sign};

use super::*;

const SECRET: &str = "a-secret-marker-for-tests";
const OTHER: &str = "another-secret-marker";
const BODY: &str = r#"{"id":"evt_1","type":"link.clicked","timestamp":1795176000,"data":{"profile_id":"p","link_id":"payload-marker"}}"#;
const AT: i64 = 1_795_176_000;

/// A request of a sender that signs under this scheme with this key.
fn signed(scheme: &Scheme, key: &SigningKey, body: &str) -> Vec<(String, Vec<u8>)> {
    sign(scheme, key, "msg_1", Timestamp::from_seconds(AT), body.as_bytes())
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect()
}

fn utf8(secret: &str) -> SigningKey {
    SigningKey::decode(secret, KeyEncoding::Utf8).unwrap()
}

/// A source with these secrets, and a request that it is to explain.
fn case_of(scheme: Scheme, setting: &str, headers: Vec<(String, Vec<u8>)>, body: &str) -> Case {
    let setting = SecretString::from(setting);
    let secrets = secrets_of(&setting, "`ours`", scheme.key_encoding);
    let keys = keys::right(&secrets).into_iter().map(|key| key.signing).collect();
    let name = SourceName::trusted("ours");
    Case {
        capture: Capture::new(headers, body.as_bytes().to_vec()),
        source: Source { name, scheme, keys, tolerance_seconds: 300 },
        secrets,
        setting: Some(setting),
        others: Vec::new(),
        foreign: secrets_of(&SecretString::from(OTHER), "`theirs`", KeyEncoding::Utf8),
        at: Timestamp::from_seconds(AT),
        at_is_given: true,
        context: Context {
            visitors: VisitorKey::new(&[0; 16]).unwrap(),
            personal: PersonalKeys::default(),
            dedupe_window_ms: 400 * 86_400_000,
        },
        max_body: 262_144,
    }
}

fn linktree(headers: Vec<(String, Vec<u8>)>, body: &str) -> Case {
    case_of(Scheme::linktree(), SECRET, headers, body)
}

fn template(text: &str) -> Scheme {
    Scheme { template: Scheme::parse_template(text).unwrap(), ..Scheme::linktree() }
}

/// The names of the reasons. Nothing that was said may hold a secret or a part of the payload.
fn reasons(case: &Case) -> Vec<&'static str> {
    let verdict = judge(case);
    let said = as_text(case, &verdict, i64::MAX).unwrap();
    assert!(!said.contains("marker"), "{said}");
    let json = as_json(case, &verdict, i64::MAX).to_string();
    assert!(!json.contains("marker"), "{json}");
    assert_eq!(verdict.code.is_none(), verdict.reasons.is_empty(), "{said}");
    verdict.reasons.iter().map(|reason| reason.name).collect()
}

#[test]
fn a_good_request_is_accepted_and_its_events_are_named() {
    let scheme = Scheme::linktree();
    let case = linktree(signed(&scheme, &utf8(SECRET), BODY), BODY);
    let verdict = judge(&case);
    assert_eq!((verdict.code, verdict.secret, verdict.reasons.len()), (None, Some(0), 0));
    let json = as_json(&case, &verdict, i64::MAX);
    assert_eq!(json["events"][0]["id"], "evt_1");
    assert_eq!(json["events"][0]["type"], "link.clicked");
    assert_eq!(json["events"][0]["outcome"], "counted");

    let unfit = BODY.replace("link_id", "other_id");
    let case = linktree(signed(&scheme, &utf8(SECRET), &unfit), &unfit);
    let json = as_json(&case, &judge(&case), i64::MAX);
    assert_eq!(json["events"][0]["outcome"], "dead letter: missing_field:link_id");
}

#[test]
fn what_the_sender_did_otherwise_is_found() {
    let secret = utf8(SECRET);
    let in_base64 = Scheme { encoding: Encoding::Base64, ..Scheme::linktree() };
    let prefixed = Scheme { prefix: "sha256=".into(), ..Scheme::linktree() };
    for (sender, key, want) in [
        (in_base64, secret.clone(), "wrong_encoding"),
        (prefixed, secret.clone(), "other_format"),
        (template("{body}"), secret.clone(), "signed_without_timestamp"),
        (template("{timestamp}{body}"), secret.clone(), "other_template"),
        (template("v0:{timestamp}:{body}"), secret.clone(), "other_template"),
        (Scheme::linktree(), utf8(OTHER), "other_secret"),
        (Scheme::linktree(), utf8(&format!("{SECRET}\n")), "altered_secret"),
        (Scheme::linktree(), utf8(&format!(" {SECRET}")), "altered_secret"),
        (Scheme::linktree(), utf8("nobody knows it"), "wrong_secret"),
    ] {
        let case = linktree(signed(&sender, &key, BODY), BODY);
        assert_eq!(reasons(&case), [want], "{sender:?}");
    }
}

#[test]
fn two_mistakes_at_once_are_found() {
    let sender = template("{timestamp}{body}");
    let pretty = "{\n  \"a\": 1\n}";
    let case = linktree(signed(&sender, &utf8(SECRET), pretty), r#"{"a":1}"#);
    assert_eq!(reasons(&case), ["other_template", "body_changed"]);
    let mut case = linktree(signed(&sender, &utf8(OTHER), BODY), BODY);
    case.at = Timestamp::from_seconds(AT + 301);
    assert_eq!(reasons(&case), ["other_secret", "other_template", "stale_timestamp"]);
}

#[test]
fn a_body_that_was_changed_on_the_way_is_found() {
    for arrived in
        [format!("{BODY}\n"), format!("\u{feff}{BODY}"), BODY.replace(':', ": ").replace(',', ", ")]
    {
        let headers = signed(&Scheme::linktree(), &utf8(SECRET), BODY);
        assert_eq!(reasons(&linktree(headers, &arrived)), ["body_changed"], "{arrived}");
    }
    let headers = signed(&Scheme::linktree(), &utf8(SECRET), BODY);
    let mut case = linktree(headers.clone(), &BODY[..40]);
    assert_eq!(reasons(&case), ["wrong_secret"]);
    let length = ("content-length".to_owned(), b"112".to_vec());
    case.capture = Capture::new([headers, vec![length]].concat(), BODY[..40].into());
    assert_eq!(reasons(&case), ["body_length"]);
}

#[test]
fn the_age_is_told_once_the_signature_holds() {
    for (at, want) in
        [(AT + 300, &[][..]), (AT + 301, &["stale_timestamp"]), (AT - 301, &["stale_timestamp"])]
    {
        let mut case = linktree(signed(&Scheme::linktree(), &utf8(SECRET), BODY), BODY);
        case.at = Timestamp::from_seconds(at);
        assert_eq!(reasons(&case), want, "{at}");
    }
    let mut case = linktree(signed(&Scheme::linktree(), &utf8(SECRET), BODY), BODY);
    case.at = Timestamp::from_seconds(AT + 4210);
    assert!(judge(&case).reasons[0].what.contains("4210 s before"));
}

#[test]
fn headers_that_are_missing_or_repeated_are_named() {
    let good = signed(&Scheme::linktree(), &utf8(SECRET), BODY);
    let without = |name: &str| good.iter().filter(|(n, _)| n != name).cloned().collect::<Vec<_>>();
    let case = linktree(Vec::new(), BODY);
    assert_eq!(reasons(&case), ["header_missing", "header_missing"]);
    let case = linktree(without("x-linktree-signature"), BODY);
    assert_eq!(judge(&case).code, Some("missing_signature"));
    assert_eq!(reasons(&case), ["header_missing"]);
    let repeated = [good.clone(), vec![good[1].clone()]].concat();
    assert_eq!(reasons(&linktree(repeated, BODY)), ["header_repeated"]);
    let renamed = [
        without("x-linktree-signature"),
        vec![("x-other-signature".to_owned(), good[1].1.clone())],
    ];
    let case = linktree(renamed.concat(), BODY);
    assert_eq!(reasons(&case), ["header_missing"]);
    assert!(judge(&case).reasons[0].what.contains("`x-other-signature` is there"));
}

#[test]
fn a_delivery_of_somebody_else_is_recognised() {
    let headers = signed(&Scheme::dub(), &utf8(SECRET), BODY);
    assert_eq!(
        reasons(&linktree(headers.clone(), BODY)),
        ["header_missing", "header_missing", "other_scheme"]
    );
    let mut case = linktree(signed(&Scheme::linktree(), &utf8(OTHER), BODY), BODY);
    case.others.push(Source {
        name: SourceName::trusted("theirs"),
        scheme: Scheme::linktree(),
        keys: vec![utf8(OTHER)],
        tolerance_seconds: 300,
    });
    assert_eq!(reasons(&case), ["other_source"]);
}

#[test]
fn a_secret_that_is_decoded_otherwise_is_recognised() {
    let secret = format!("whsec_{}", STANDARD.encode(b"a-key-of-some-24-bytes.."));
    let decoded = SigningKey::decode(&secret, KeyEncoding::Whsec).unwrap();
    for (ours, theirs, want) in [
        (KeyEncoding::Whsec, utf8(&secret), &["secret_decoded_otherwise"][..]),
        (KeyEncoding::Whsec, utf8(&secret[6..]), &["secret_decoded_otherwise"]),
        (KeyEncoding::Utf8, decoded.clone(), &["other_scheme"]),
        (KeyEncoding::Whsec, decoded, &[]),
    ] {
        let headers = signed(&Scheme::standard(), &theirs, BODY.trim());
        let scheme = Scheme { key_encoding: ours, ..Scheme::standard() };
        assert_eq!(reasons(&case_of(scheme, &secret, headers, BODY)), want);
    }
    let headers = signed(&Scheme::standard(), &utf8(&secret[6..]), BODY);
    let case = case_of(Scheme::standard(), &secret[6..], headers, BODY);
    assert_eq!(reasons(&case), ["unusable_secret", "secret_decoded_otherwise"]);
    let headers = signed(&Scheme::linktree(), &utf8("a,b"), BODY);
    assert_eq!(reasons(&case_of(Scheme::linktree(), "a,b", headers, BODY)), ["altered_secret"]);
}

#[test]
fn what_is_refused_before_or_after_the_signature_is_told() {
    let mut case = linktree(signed(&Scheme::linktree(), &utf8(SECRET), BODY), BODY);
    case.max_body = 10;
    assert_eq!(reasons(&case), ["body_too_large"]);
    assert_eq!(judge(&case).code, Some("payload_too_large"));
    let gzip = vec![("content-encoding".to_owned(), b"gzip".to_vec())];
    let headers = [signed(&Scheme::linktree(), &utf8(SECRET), BODY), gzip].concat();
    assert_eq!(reasons(&linktree(headers, BODY)), ["compressed_body"]);
    let case = linktree(signed(&Scheme::linktree(), &utf8(SECRET), "[]"), "[]");
    assert_eq!(reasons(&case), ["malformed_payload"]);
    let old = r#"{"id":"1","event":"link.clicked","createdAt":"2020-01-01T00:00:00Z","data":{}}"#;
    let case = case_of(Scheme::dub(), SECRET, signed(&Scheme::dub(), &utf8(SECRET), old), old);
    assert_eq!(reasons(&case), ["expired_envelope"]);
}
