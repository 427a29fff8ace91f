//! What the sender may have signed, when something on the way changed the body.

use super::json_layout::{Layout, Spelling, sorted, tokens, written};

/// The mark that some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One body that may have been signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    /// As in "the signature holds for the body ...".
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

/// The body as it arrived, first, and every other that it may have been. No two are the same.
pub(super) fn variants(captured: &[u8]) -> Vec<Body> {
    let mut bodies = vec![Body { label: "as it arrived".to_owned(), bytes: captured.to_vec() }];
    let mut add = |label: String, bytes: Vec<u8>| {
        if bodies.iter().all(|known| known.bytes != bytes) {
            bodies.push(Body { label, bytes });
        }
    };
    for (label, bytes) in ends(captured).into_iter().chain(line_ends(captured)) {
        add(label.to_owned(), bytes);
    }
    let unmarked = captured.strip_prefix(BYTE_ORDER_MARK);
    match unmarked {
        Some(rest) => add("without its byte order mark".to_owned(), rest.to_vec()),
        None => {
            add(
                "with a byte order mark before it".to_owned(),
                [BYTE_ORDER_MARK, captured].concat(),
            );
        }
    }
    let Ok(text) = std::str::from_utf8(unmarked.unwrap_or(captured)) else { return bodies };
    let Some(sorted) = sorted(text) else { return bodies };
    for (order, json) in [("", text), (", its keys sorted", sorted.as_str())] {
        let tokens = tokens(json);
        for (layout, layout_label) in LAYOUTS {
            for (spelling, spelling_label) in SPELLINGS {
                let label = format!("{layout_label}{order}{spelling_label}");
                add(label, written(&tokens, layout, spelling).into_bytes());
            }
        }
    }
    bodies
}

const LAYOUTS: [(Layout, &str); 4] = [
    (Layout::Compact, "as JSON without white space"),
    (Layout::Spaced, "as JSON with a blank after each comma and colon"),
    (Layout::Indented(2), "as JSON indented by 2"),
    (Layout::Indented(4), "as JSON indented by 4"),
];

const SPELLINGS: [(Spelling, &str); 5] = [
    (Spelling::Kept, ""),
    (Spelling::Plain, ", nothing escaped that need not be"),
    (Spelling::Ascii, ", everything but ASCII escaped"),
    (Spelling::AsciiAndSlashes, ", slashes and everything but ASCII escaped"),
    (Spelling::Slashes, ", slashes escaped"),
];

fn ends(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = Vec::new();
    if let Some(rest) = body.strip_suffix(b"\n") {
        let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        found.push(("without the line end after it", rest.to_vec()));
    }
    found.push(("without the white space around it", body.trim_ascii().to_vec()));
    found.push(("with a line end after it", [body, b"\n"].concat()));
    found.push(("with a CRLF after it", [body, b"\r\n"].concat()));
    found
}

fn line_ends(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut bare = Vec::with_capacity(body.len());
    for (index, byte) in body.iter().enumerate() {
        if !(*byte == b'\r' && body.get(index + 1) == Some(&b'\n')) {
            bare.push(*byte);
        }
    }
    let lines: Vec<&[u8]> = bare.split(|byte| *byte == b'\n').collect();
    vec![("with CRLF line ends", lines.join(&b"\r\n"[..])), ("with LF line ends", bare)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_on_the_way_can_be_undone() {
        for (arrived, signed) in [
            ("{}\n", "{}"),
            ("{}", "{}\n"),
            ("{}", "{}\r\n"),
            (" {} ", "{}"),
            ("a\r\nb", "a\nb"),
            ("a\nb", "a\r\nb"),
            ("\u{feff}{}", "{}"),
            ("{}", "\u{feff}{}"),
            ("{\n  \"a\": 1\n}", r#"{"a":1}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a": 1, "b": 2}"#),
            (r#"{"a":1}"#, "{\n    \"a\": 1\n}"),
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"b":1,"a":"é"}"#, r#"{"a": "\u00e9", "b": 1}"#),
            (r#"{"a":"x/é"}"#, r#"{"a":"x\/\u00e9"}"#),
            (r#"{"a":"x\/\u00e9"}"#, r#"{"a":"x/é"}"#),
        ] {
            let bodies = variants(arrived.as_bytes());
            assert!(bodies.iter().any(|body| body.bytes == signed.as_bytes()), "{arrived:?}");
            assert_eq!(bodies[0].bytes, arrived.as_bytes());
        }
    }

    #[test]
    fn what_is_no_json_and_no_text_has_variants_too() {
        assert!(variants(b"\xff\xfe").len() > 2);
        assert!(variants(b"").len() > 2);
    }
}
