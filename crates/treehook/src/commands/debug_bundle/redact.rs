//! Takes out of a line what is or looks like a secret or a person. Rather too much than too little.

use std::net::{IpAddr, SocketAddr};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use treehook_event::PersonalKeys;

/// Known secrets shorter than this are not looked for by themselves: they would be found everywhere.
const KNOWN_LENGTH_MIN: usize = 4;
/// What is at least this long and mixes letters and digits looks like a secret.
const RANDOM_LENGTH_MIN: usize = 16;
/// Keys whose value goes, whatever it is.
const SECRET_KEYS: [&str; 14] = [
    "secret",
    "token",
    "password",
    "passwd",
    "authorization",
    "signature",
    "apikey",
    "cookie",
    "credential",
    "bearer",
    "visitor",
    "useragent",
    "email",
    "phone",
];
/// Beginnings of secrets.
const SECRET_BEGINNINGS: [&str; 5] = ["whsec_", "lt_test_", "lt_live_", "sk_", "dub_"];

/// What is known not to be shown.
pub(super) struct Redactor {
    known: Vec<SecretString>,
    personal: PersonalKeys,
}

impl Redactor {
    /// Takes out these secrets wherever they stand, beside what only looks like one.
    pub(super) fn new(mut known: Vec<SecretString>) -> Self {
        known.retain(|secret| secret.expose_secret().len() >= KNOWN_LENGTH_MIN);
        // The longest first: one may be a part of another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { known, personal: PersonalKeys::default() }
    }

    /// One line, of a log or of text.
    pub(super) fn line(&self, line: &str) -> String {
        match serde_json::from_str(line) {
            Ok(value @ Value::Object(_)) => self.value(value).to_string(),
            Ok(_) | Err(_) => self.text(line),
        }
    }

    /// A JSON value: personal keys go, texts are redacted.
    pub(super) fn value(&self, mut value: Value) -> Value {
        self.personal.redact(&mut value);
        self.leaves(&mut value);
        value
    }

    fn leaves(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, inner) in fields {
                    // Numbers and flags under such a key count something.
                    if names_a_secret(key) && (inner.is_string() || inner.is_array()) {
                        *inner = Value::from("[removed]");
                    } else {
                        self.leaves(inner);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.leaves(item)),
            Value::String(text) => *text = self.text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }

    /// Free text: known secrets, then word by word.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.known {
            text = text.replace(secret.expose_secret(), "[secret]");
        }
        words_redacted(&text)
    }
}

fn names_a_secret(key: &str) -> bool {
    let folded: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_KEYS.iter().any(|known| folded.contains(known)) || folded == "ip"
}

fn words_redacted(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut key = Key::None;
    let mut rest = text;
    while !rest.is_empty() {
        let ends = |c: char| c.is_whitespace() || "\"'`,;=()[]<>{}|".contains(c);
        let mut length = rest.find(ends).unwrap_or(rest.len());
        if rest[..length].contains("://") {
            // What looks like a word's end is a part of the query.
            let ends = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
            length = rest.find(ends).unwrap_or(rest.len());
        }
        let (word, after) = rest.split_at(length);
        if !word.is_empty() {
            redacted.push_str(&key.applied(word));
            key = key.after(word);
        }
        let Some(between) = after.chars().next() else { break };
        redacted.push(between);
        key = key.between(between);
        rest = &after[between.len_utf8()..];
    }
    redacted
}

/// Whether the words that come next are the value of a key that names a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    /// Such a key was read; its value may follow.
    Read,
    /// Its value is being read: one word, or all up to the quote.
    Value {
        quote: Option<char>,
    },
}

impl Key {
    fn applied(self, word: &str) -> String {
        match self {
            Self::Value { .. } => "[removed]".to_owned(),
            Self::None | Self::Read => word_redacted(word),
        }
    }

    fn after(self, word: &str) -> Self {
        match self {
            // `Authorization: Bearer x`: the word after `Bearer` is the value.
            _ if word.eq_ignore_ascii_case("bearer") => Self::Value { quote: None },
            Self::Value { quote: Some(quote) } => Self::Value { quote: Some(quote) },
            Self::Value { quote: None } | Self::None | Self::Read => match word.strip_suffix(':') {
                Some(key) if names_a_secret(key) => Self::Value { quote: None },
                _ if names_a_secret(word) => Self::Read,
                _ => Self::None,
            },
        }
    }

    fn between(self, c: char) -> Self {
        match (self, c) {
            (Self::Read, '=') => Self::Value { quote: None },
            (Self::Read, '"' | '\'' | ' ') => Self::Read,
            (Self::Value { quote: None }, '"' | '\'') => Self::Value { quote: Some(c) },
            (Self::Value { quote: Some(quote) }, c) if c == quote => Self::None,
            (Self::Value { .. }, _) => self,
            (Self::Read | Self::None, _) => Self::None,
        }
    }
}

fn word_redacted(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        return url_redacted(scheme, rest);
    }
    if is_address(word) {
        return "[ip]".to_owned();
    }
    if let Some((name, host)) = word.split_once('@')
        && !name.is_empty()
        && host.contains('.')
    {
        return "[email]".to_owned();
    }
    let is_secret = SECRET_BEGINNINGS.iter().any(|beginning| word.starts_with(beginning));
    if is_secret || word.split(['.', ':', '/', '@']).any(looks_random) {
        return "[token]".to_owned();
    }
    if let Some((before, after)) = word.split_once("/home/") {
        let after = after.split_once('/').map_or("", |(_, after)| after);
        return format!("{before}/home/[user]/{after}");
    }
    word.to_owned()
}

/// Without user, password and query.
fn url_redacted(scheme: &str, rest: &str) -> String {
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let credentials = if authority.contains('@') { "[credentials]@" } else { "" };
    let host = if is_address(host) { "[ip]" } else { host };
    let (path, query) = path.split_once('?').map_or((path, ""), |(path, _)| (path, "?[query]"));
    let path: Vec<&str> =
        path.split('/').map(|part| if looks_random(part) { "[token]" } else { part }).collect();
    format!("{scheme}://{credentials}{host}{}{query}", path.join("/"))
}

/// An address of a machine, with or without a port; not one that every machine has.
fn is_address(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    let ip = bare
        .parse::<IpAddr>()
        .ok()
        .or_else(|| word.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn looks_random(piece: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-_".contains(c);
    let digits = piece.chars().filter(char::is_ascii_digit).count();
    let letters = piece.chars().filter(char::is_ascii_alphabetic).count();
    piece.len() >= RANDOM_LENGTH_MIN && piece.chars().all(fits) && digits >= 2 && letters >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(vec![SecretString::from("hunter2-marker"), SecretString::from("abc")])
    }

    #[test]
    fn what_is_or_looks_like_a_secret_or_a_person_goes() {
        for (line, redacted) in [
            ("key hunter2-marker here", "key [secret] here"),
            ("from 203.0.113.7:4711 and 2001:db8::1", "from [ip] and [ip]"),
            ("listening on http://127.0.0.1:9090", "listening on http://127.0.0.1:9090"),
            ("mail ann@example.com.", "mail [email]"),
            ("amqp://ann:pw@mq:5672/%2f", "amqp://[credentials]@mq:5672/%2f"),
            ("GET https://h/p?visitor=ann", "GET https://h/p?[query]"),
            ("Authorization: Bearer abc.def", "Authorization: [removed] [removed]"),
            ("password=x y", "password=[removed] y"),
            (
                "user_agent=\"Mozilla 5 (X)\" n=1",
                "user_agent=\"[removed] [removed] ([removed])\" n=1",
            ),
            ("secret whsec_AAAA", "secret [token]"),
            ("id 0f3c9f6a8d0b4a6e9a4b", "id [token]"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "[token]"),
            ("/home/ann/data is full", "/home/[user]/data is full"),
            (
                "2026-11-24T08:28:56.123Z INFO treehook::roles: ok",
                "2026-11-24T08:28:56.123Z INFO treehook::roles: ok",
            ),
            ("treehook_delivery_duration_seconds 5", "treehook_delivery_duration_seconds 5"),
        ] {
            assert_eq!(redactor().text(line), redacted, "{line}");
        }
    }

    #[test]
    fn a_json_line_loses_its_keys_and_keeps_its_shape() {
        let line = r#"{"level":"INFO","ip":"203.0.113.7","api_token":"t","secrets":2,"visitor_id":"v","message":"of ann@example.com","deep":{"userAgent":"x","n":1}}"#;
        let value: Value = serde_json::from_str(&redactor().line(line)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "level": "INFO", "api_token": "[removed]", "secrets": 2,
                "message": "of [email]", "deep": {"n": 1},
            })
        );
    }
}
