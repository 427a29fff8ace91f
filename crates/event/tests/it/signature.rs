//! Which signatures hold, whatever a sender or an intermediary does to the headers.

use treehook_event::{Encoding, KeyEncoding, Part, Rejection, Scheme, SigningKey, TimestampPlace};

use crate::setup::{Headers, SECRET, belief, built_in, now, replace, signed, signed_at, source};

const BODY: &[u8] = br#"{"type":"x"}"#;
const INVALID: Result<usize, Rejection> = Err(Rejection::InvalidSignature);

fn value(headers: &Headers, name: &str) -> Vec<u8> {
    headers.iter().find(|(given, _)| given == name).expect("it is there").1.clone()
}

/// GitHub's shape, with its published example.
#[test]
fn the_published_example_of_github_holds() {
    let mut scheme = Scheme::dub();
    scheme.signature_header = "x-hub-signature-256".into();
    scheme.prefix = "sha256=".into();
    let mut source = source(scheme);
    let secret = "It's a Secret to Everybody";
    source.keys = vec![SigningKey::decode(secret, KeyEncoding::Utf8).unwrap()];
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = vec![("x-hub-signature-256".to_owned(), signature.into())];
    assert_eq!(belief(&source, &headers, b"Hello, World!"), Ok(0));
    assert_eq!(belief(&source, &headers, b"Hello, World?"), INVALID);
    let bare = vec![("x-hub-signature-256".to_owned(), signature[7..].into())];
    assert_eq!(belief(&source, &bare, b"Hello, World!"), INVALID, "without the prefix");
}

/// Stripe's shape: the timestamp is an element of the signature header.
#[test]
fn a_timestamp_inside_the_signature_header_is_found() {
    let mut scheme = Scheme::linktree();
    scheme.signature_header = "x-signature".into();
    scheme.timestamp = TimestampPlace::SignatureElement("t=".into());
    scheme.prefix = "v1=".into();
    scheme.separator = Some(',');
    assert_eq!(scheme.check(), Ok(()));
    let source = source(scheme);
    let good = signed(&source, BODY);
    assert_eq!(belief(&source, &good, BODY), Ok(0));
    let text = String::from_utf8(value(&good, "x-signature")).unwrap();
    let (time, mac) = text.split_once(',').unwrap();
    for (header, expected) in [
        (format!("{mac}, {time} ,v0=abc"), Ok(0)),
        (mac.to_owned(), INVALID),
        (format!("t=1,{mac}"), INVALID),
        (time.to_owned(), INVALID),
    ] {
        let headers = vec![("x-signature".to_owned(), header.clone().into_bytes())];
        assert_eq!(belief(&source, &headers, BODY), expected, "{header}");
    }
}

#[test]
fn every_malformed_hex_signature_is_just_wrong() {
    for source in [source(Scheme::linktree()), source(Scheme::dub())] {
        let header = source.scheme.signature_header.clone();
        let good = signed(&source, BODY);
        let hex = value(&good, &header);
        let mut flipped = hex.clone();
        flipped[63] ^= 1;
        for (case, signature, expected) in [
            ("as it is", hex.clone(), Ok(0)),
            ("upper case", hex.to_ascii_uppercase(), Ok(0)),
            ("white space around", [b" \t", &hex[..], b"\r\n "].concat(), Ok(0)),
            ("white space inside", [&hex[..32], b" ", &hex[32..]].concat(), INVALID),
            ("one bit off", flipped, INVALID),
            ("a digit short", hex[..63].to_vec(), INVALID),
            ("a byte short", hex[..62].to_vec(), INVALID),
            ("a byte long", [&hex[..], b"00"].concat(), INVALID),
            ("twice in one", [&hex[..], &hex[..]].concat(), INVALID),
            ("a list", [&hex[..], b",", &hex[..]].concat(), INVALID),
            ("0x", [b"0x", &hex[..]].concat(), INVALID),
            ("no hex", vec![b'z'; 64], INVALID),
            ("zeroes", vec![b'0'; 64], INVALID),
            ("empty", Vec::new(), INVALID),
            ("spaces", b"   ".to_vec(), INVALID),
            ("not UTF-8", vec![0xff; 64], INVALID),
            ("NUL", [&hex[..], b"\0"].concat(), INVALID),
            ("long", vec![b'a'; 100_000], INVALID),
        ] {
            let mut headers = good.clone();
            replace(&mut headers, &header, signature);
            assert_eq!(belief(&source, &headers, BODY), expected, "{header}: {case}");
        }
    }
}

#[test]
fn an_absent_header_is_missing_and_a_repeated_one_is_wrong() {
    for source in built_in() {
        let good = signed(&source, BODY);
        for (position, (name, given)) in good.iter().enumerate() {
            let mut without = good.clone();
            without.remove(position);
            assert_eq!(belief(&source, &without, BODY), Err(Rejection::MissingSignature), "{name}");
            let mut twice = good.clone();
            twice.push((name.clone(), given.clone()));
            assert_eq!(belief(&source, &twice, BODY), INVALID, "{name}");
        }
        assert_eq!(belief(&source, &Headers::new(), BODY), Err(Rejection::MissingSignature));
    }
}

#[test]
fn whatever_is_signed_cannot_be_changed() {
    for source in built_in() {
        let good = signed(&source, BODY);
        assert_eq!(belief(&source, &good, BODY), Ok(0));
        assert_eq!(belief(&source, &good, br#"{"type":"y"}"#), INVALID);
        assert_eq!(belief(&source, &good, b""), INVALID);
        for name in ["x-linktree-timestamp", "webhook-timestamp", "webhook-id"] {
            if good.iter().any(|(given, _)| given == name) {
                let mut changed = good.clone();
                replace(&mut changed, name, "1764000001");
                assert_eq!(belief(&source, &changed, BODY), INVALID, "{name}");
            }
        }
    }
}

#[test]
fn the_key_that_matches_is_named_by_its_position() {
    let mut source = source(Scheme::linktree());
    let keys = ["newest", SECRET, "oldest"];
    source.keys = keys.map(|key| SigningKey::decode(key, KeyEncoding::Utf8).unwrap()).to_vec();
    for position in 0..3 {
        let mut sender = source.clone();
        sender.keys = vec![source.keys[position].clone()];
        assert_eq!(belief(&source, &signed(&sender, BODY), BODY), Ok(position));
    }
}

#[test]
fn a_timestamp_that_is_no_number_is_stale_only_if_the_signature_holds() {
    let source = source(Scheme::linktree());
    let unsigned = signed(&source, BODY);
    // Signed over these very words, as a broken sender with the right key would.
    let mut words = source.clone();
    for text in
        ["", "soon", "-1764000000", "1764000000.5", "17640000000000", "１７６４００００００"]
    {
        words.scheme.template =
            vec![Part::Literal(text.into()), Part::Literal(".".into()), Part::Body];
        let mut signed = signed(&words, BODY);
        replace(&mut signed, "x-linktree-timestamp", text);
        assert_eq!(belief(&source, &signed, BODY), Err(Rejection::StaleTimestamp), "{text}");
        let mut forged = unsigned.clone();
        replace(&mut forged, "x-linktree-timestamp", text);
        assert_eq!(belief(&source, &forged, BODY), INVALID, "{text}");
    }
}

#[test]
fn a_stale_signature_that_is_also_wrong_is_only_wrong() {
    let source = source(Scheme::linktree());
    let old = signed_at(&source, now().plus_millis(-3_600_000), BODY);
    assert_eq!(belief(&source, &old, BODY), Err(Rejection::StaleTimestamp));
    assert_eq!(belief(&source, &old, b"other"), INVALID);
}

#[test]
fn base64_is_read_with_or_without_its_padding_and_nothing_else() {
    let mut scheme = Scheme::dub();
    scheme.encoding = Encoding::Base64;
    let source = source(scheme);
    let good = signed(&source, BODY);
    let text = value(&good, "dub-signature");
    assert_eq!((text.len(), text[43]), (44, b'='));
    let mut url_safe = text.clone();
    for byte in &mut url_safe {
        match byte {
            b'+' => *byte = b'-',
            b'/' => *byte = b'_',
            _ => (),
        }
    }
    let url_safe_expected = if url_safe == text { Ok(0) } else { INVALID };
    for (case, signature, expected) in [
        ("padded", text.clone(), Ok(0)),
        ("unpadded", text[..43].to_vec(), Ok(0)),
        ("cut", text[..40].to_vec(), INVALID),
        ("longer", [b"AAAA", &text[..]].concat(), INVALID),
        ("much longer", vec![b'A'; 4096], INVALID),
        ("another alphabet", url_safe, url_safe_expected),
        ("white space inside", [&text[..20], b"\n", &text[20..]].concat(), INVALID),
        ("empty", Vec::new(), INVALID),
    ] {
        let mut headers = good.clone();
        replace(&mut headers, "dub-signature", signature);
        assert_eq!(belief(&source, &headers, BODY), expected, "{case}");
    }
}
