//! One JSON text in the layouts and spellings that the usual libraries give it.

use serde_json::Value;

/// White space between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// None.
    Compact,
    /// One blank after each comma and colon: Python's default.
    Spaced,
    /// A line per value, indented by so many blanks.
    Indented(usize),
}

/// How texts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As they came.
    Kept,
    /// Without needless escapes: JavaScript's and Rust's default.
    Plain,
    /// Everything but ASCII escaped: Python's default.
    Ascii,
    /// That, and slashes escaped: PHP's default.
    AsciiAndSlashes,
    /// Slashes alone escaped.
    Slashes,
}

/// The tokens of a JSON text that was parsed before: punctuation, texts with their quotes, and all else.
pub(super) fn tokens(json: &str) -> Vec<&str> {
    let bytes = json.as_bytes();
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = match bytes[start] {
            b' ' | b'\t' | b'\n' | b'\r' => {
                start += 1;
                continue;
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => start + 1,
            b'"' => end_of_text(bytes, start),
            _ => bytes[start..]
                .iter()
                .position(|byte| b" \t\n\r,:]}".contains(byte))
                .map_or(bytes.len(), |length| start + length),
        };
        tokens.push(&json[start..end]);
        start = end;
    }
    tokens
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut index = start + 1;
    while index < bytes.len() && bytes[index] != b'"' {
        index += if bytes[index] == b'\\' { 2 } else { 1 };
    }
    (index + 1).min(bytes.len())
}

/// The same text with its keys in order, or nothing when it is not JSON.
pub(super) fn sorted(json: &str) -> Option<String> {
    // Objects are ordered maps there.
    let value: Value = serde_json::from_str(json).ok()?;
    Some(value.to_string())
}

/// The tokens, laid out and spelled.
pub(super) fn written(tokens: &[&str], layout: Layout, spelling: Spelling) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).copied().unwrap_or_default();
        match *token {
            "{" | "[" => {
                depth += 1;
                text.push_str(token);
                if !matches!(next, "}" | "]") {
                    break_line(&mut text, layout, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                let is_empty = index > 0 && matches!(tokens[index - 1], "{" | "[");
                if !is_empty {
                    break_line(&mut text, layout, depth);
                }
                text.push_str(token);
            }
            "," => {
                text.push(',');
                if layout == Layout::Spaced {
                    text.push(' ');
                }
                break_line(&mut text, layout, depth);
            }
            ":" => text.push_str(if layout == Layout::Compact { ":" } else { ": " }),
            token if token.starts_with('"') => text.push_str(&spelled(token, spelling)),
            token => text.push_str(token),
        }
    }
    text
}

fn break_line(text: &mut String, layout: Layout, depth: usize) {
    if let Layout::Indented(width) = layout {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', depth * width));
    }
}

fn spelled(token: &str, spelling: Spelling) -> String {
    let (ascii, slashes) = match spelling {
        Spelling::Kept => return token.to_owned(),
        Spelling::Plain => (false, false),
        Spelling::Ascii => (true, false),
        Spelling::AsciiAndSlashes => (true, true),
        Spelling::Slashes => (false, true),
    };
    let Ok(Value::String(plain)) = serde_json::from_str(token) else { return token.to_owned() };
    let plain = Value::String(plain).to_string();
    let mut text = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '/' if slashes => text.push_str("\\/"),
            c if ascii && !c.is_ascii() => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter();
                text.extend(units.map(|unit| format!("\\u{unit:04x}")));
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "{ \"b\" : [1.50, {}, [] ,\"x\\\"/\\u00e9\"],\n\"a\":null}";

    #[test]
    fn one_text_has_many_layouts() {
        for (layout, want) in [
            (Layout::Compact, r#"{"b":[1.50,{},[],"x\"/\u00e9"],"a":null}"#.to_owned()),
            (Layout::Spaced, r#"{"b": [1.50, {}, [], "x\"/\u00e9"], "a": null}"#.to_owned()),
            (
                Layout::Indented(2),
                "{\n  \"b\": [\n    1.50,\n    {},\n    [],\n    \"x\\\"/\\u00e9\"\n  ],\n  \"a\": null\n}"
                    .to_owned(),
            ),
        ] {
            assert_eq!(written(&tokens(JSON), layout, Spelling::Kept), want, "{layout:?}");
        }
    }

    #[test]
    fn texts_have_many_spellings() {
        for (spelling, want) in [
            (Spelling::Kept, r#""é/\u00e9""#),
            (Spelling::Plain, r#""é/é""#),
            (Spelling::Ascii, r#""\u00e9/\u00e9""#),
            (Spelling::AsciiAndSlashes, r#""\u00e9\/\u00e9""#),
            (Spelling::Slashes, r#""é\/é""#),
        ] {
            let token = r#""é/\u00e9""#;
            assert_eq!(written(&[token], Layout::Compact, spelling), want, "{spelling:?}");
        }
    }

    #[test]
    fn keys_are_sorted_at_any_depth() {
        assert_eq!(sorted(r#"{"b":{"z":1,"y":2},"a":3}"#).unwrap(), r#"{"a":3,"b":{"y":2,"z":1}}"#);
        assert_eq!(sorted("{"), None);
    }
}
