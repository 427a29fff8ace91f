//! How a signature is written: read as the scheme says, and as anything that it could be.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use treehook_event::{Encoding, Scheme};

use super::reason::{Reason, quoted};

/// Pieces of one header that are looked at: the receiver looks at 16 signatures.
const PIECES_MAX: usize = 64;

/// An HMAC-SHA256, in hexadecimal.
pub(super) type Mac = String;

/// Every MAC that a signature header could hold, whatever its format.
pub(super) fn macs_in(header: &[u8]) -> Vec<Mac> {
    let mut macs: Vec<Mac> = Vec::new();
    for piece in pieces(header).take(PIECES_MAX) {
        let mac = decoded(piece, Encoding::Hex).or_else(|| decoded(piece, Encoding::Base64));
        macs.extend(mac.filter(|mac| !macs.contains(mac)));
    }
    macs
}

/// What stands between separators, and what stands there behind a prefix.
fn pieces(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = header.split(|byte| b" ,;\t\"".contains(byte)).map(<[u8]>::trim_ascii);
    elements.flat_map(|element| {
        let behind = element.iter().enumerate().filter(|(_, byte)| b"=:".contains(byte));
        std::iter::once(element).chain(behind.map(|(index, _)| &element[index + 1..]))
    })
}

fn decoded(text: &[u8], encoding: Encoding) -> Option<Mac> {
    let bytes = match encoding {
        Encoding::Hex => hex::decode(text).ok()?,
        Encoding::Base64 => {
            let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
            let text = &text[..end];
            STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?
        }
    };
    (bytes.len() == 32).then(|| hex::encode(bytes))
}

/// Where the header is not written as the scheme says. Nothing when it is.
pub(super) fn faults(scheme: &Scheme, header: &[u8]) -> Vec<Reason> {
    let elements: Vec<&[u8]> = header
        .split(|byte| scheme.separator.is_some_and(|separator| char::from(*byte) == separator))
        .map(<[u8]>::trim_ascii)
        .collect();
    let prefixed: Vec<&[u8]> =
        elements.iter().filter_map(|e| e.strip_prefix(scheme.prefix.as_bytes())).collect();
    let other = other_than(scheme.encoding);
    let any =
        |texts: &[&[u8]], encoding| texts.iter().any(|text| decoded(text, encoding).is_some());
    if any(&prefixed, scheme.encoding) {
        Vec::new()
    } else if any(&prefixed, other) {
        vec![wrong_encoding(scheme)]
    } else if any(&elements, scheme.encoding) {
        vec![prefix_missing(scheme)]
    } else if any(&elements, other) {
        vec![prefix_missing(scheme), wrong_encoding(scheme)]
    } else if macs_in(header).is_empty() {
        vec![unreadable(header)]
    } else {
        vec![other_format(scheme, header)]
    }
}

fn other_than(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::Hex => Encoding::Base64,
        Encoding::Base64 => Encoding::Hex,
    }
}

fn name_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "hex",
        Encoding::Base64 => "base64",
    }
}

fn wrong_encoding(scheme: &Scheme) -> Reason {
    let (given, expected) = (name_of(other_than(scheme.encoding)), name_of(scheme.encoding));
    Reason::new(
        "wrong_encoding",
        format!("the signature is written in {given}, the scheme expects {expected}"),
        format!("set `encoding = \"{given}\"` for this source, or let the sender write {expected}"),
    )
}

fn prefix_missing(scheme: &Scheme) -> Reason {
    let prefix = quoted(&scheme.prefix);
    Reason::new(
        "prefix_missing",
        format!("the signature does not begin with {prefix}, as the scheme expects"),
        "set `prefix` for this source to what the sender writes",
    )
}

/// The MAC is there, but behind another prefix or between other separators.
fn other_format(scheme: &Scheme, header: &[u8]) -> Reason {
    let text = String::from_utf8_lossy(header);
    let before = text.split_inclusive(['=', ':', ',', ' ']).next().unwrap_or_default();
    // What stands before a separator is a prefix; anything longer could be the signature itself.
    let found = if before.len() <= 12 && before.len() < text.len() {
        format!(" it begins with {}", quoted(before))
    } else {
        " it is written otherwise".to_owned()
    };
    let expected = if scheme.prefix.is_empty() {
        "the bare signature".to_owned()
    } else {
        format!("{} and the signature", quoted(&scheme.prefix))
    };
    Reason::new(
        "other_format",
        format!("the scheme expects {expected}:{found}"),
        "set `prefix` and `separator` for this source to what the sender writes",
    )
}

fn unreadable(header: &[u8]) -> Reason {
    let text = header.trim_ascii();
    let digits = text.rsplit(|byte| b"=:, ".contains(byte)).find(|piece| !piece.is_empty());
    let digits = digits.unwrap_or_default();
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let what = match digits.len() {
        0 => "the signature header is empty".to_owned(),
        40 if is_hex => "the signature has the length of a SHA-1, not of a SHA-256".to_owned(),
        128 if is_hex => "the signature has the length of a SHA-512, not of a SHA-256".to_owned(),
        length if is_hex => {
            format!("the signature has {length} hex digits, an HMAC-SHA256 has 64: it was cut")
        }
        _ => "the signature is neither hex nor base64 of 32 bytes".to_owned(),
    };
    Reason::new("unreadable_signature", what, "let the sender sign with HMAC-SHA256")
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_signature_is_found_in_whatever_it_is_wrapped() {
        let mac = [0xfb; 32];
        let (hexed, based) = (hex::encode(mac), STANDARD.encode(mac));
        for header in [
            hexed.clone(),
            hexed.to_uppercase(),
            format!("sha256={hexed}"),
            format!("t=1700000000,v1={hexed}"),
            format!("v1,{based}"),
            format!("v1={based}"),
            based.trim_end_matches('=').to_owned(),
            based.replace('+', "-").replace('/', "_"),
            format!("keyId=\"a\", signature=\"{based}\""),
        ] {
            assert_eq!(macs_in(header.as_bytes()), std::slice::from_ref(&hexed), "{header}");
        }
    }

    #[test]
    fn a_format_is_compared_with_the_scheme() {
        let mac = [7; 32];
        let (hexed, based) = (hex::encode(mac), STANDARD.encode(mac));
        let github = Scheme { prefix: "sha256=".into(), ..Scheme::dub() };
        for (scheme, header, want) in [
            (Scheme::dub(), hexed.clone(), &[][..]),
            (Scheme::dub(), based.clone(), &["wrong_encoding"]),
            (github.clone(), format!("sha256={hexed}"), &[]),
            (github.clone(), hexed.clone(), &["prefix_missing"]),
            (github.clone(), format!("sha256={based}"), &["wrong_encoding"]),
            (github, based.clone(), &["prefix_missing", "wrong_encoding"]),
            (Scheme::dub(), format!("sha256={hexed}"), &["other_format"]),
            (Scheme::standard(), format!("v1a,x v1,{based}"), &[]),
            (Scheme::standard(), format!("v1={based}"), &["other_format"]),
            (Scheme::dub(), hexed[..40].to_owned(), &["unreadable_signature"]),
            (Scheme::dub(), String::new(), &["unreadable_signature"]),
            (Scheme::dub(), "no signature".to_owned(), &["unreadable_signature"]),
        ] {
            let found = faults(&scheme, header.as_bytes());
            let names: Vec<&str> = found.iter().map(|reason| reason.name).collect();
            assert_eq!(names, want, "{header}");
            assert!(found.iter().all(|reason| !reason.what.contains(&hexed[..10])), "{header}");
        }
    }
}
