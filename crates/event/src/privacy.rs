//! Personal data: turned into a pseudonym or removed before an event leaves the receiver's memory.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{Node, Object};
use crate::secret::SigningKey;

/// A visitor's pseudonym: 64 bits of an HMAC under the deployment's visitor key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitorId(pub u64);

impl Serialize for VisitorId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for VisitorId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The deployment's key for visitors. Every receiver that shares a database needs the same one.
#[derive(Debug, Clone)]
pub struct VisitorKey(SigningKey);

impl VisitorKey {
    /// A key of at least 16 bytes; shorter ones can be guessed, and visitors with them.
    pub fn new(key: &[u8]) -> Option<Self> {
        (key.len() >= 16).then(|| Self(SigningKey::from_bytes(key)))
    }

    /// The pseudonym of a platform's visitor id.
    pub fn of_visitor_id(&self, visitor_id: &str) -> VisitorId {
        self.cut(&[visitor_id.as_bytes()])
    }

    /// The pseudonym of whoever has this address and this browser.
    pub fn of_address(&self, ip: &str, user_agent: &str) -> VisitorId {
        // The separator keeps two pairs with the same concatenation apart.
        self.cut(&[ip.as_bytes(), b"\0", user_agent.as_bytes()])
    }

    /// CONTRACT.md section 4: over `visitor_id`, else over `ip` + `user_agent`. A browser without an
    /// address is nobody in particular.
    pub fn visitor(
        &self,
        visitor_id: Option<&str>,
        ip: Option<&str>,
        user_agent: Option<&str>,
    ) -> Option<VisitorId> {
        match (visitor_id, ip) {
            (Some(visitor_id), _) => Some(self.of_visitor_id(visitor_id)),
            (None, Some(ip)) => Some(self.of_address(ip, user_agent.unwrap_or_default())),
            (None, None) => None,
        }
    }

    fn cut(&self, parts: &[&[u8]]) -> VisitorId {
        let mac = self.0.mac(parts.iter().copied());
        let first = mac.first_chunk().expect("a SHA-256 MAC has 32 bytes");
        VisitorId(u64::from_be_bytes(*first))
    }
}

/// Keys that name a person wherever they stand. Compared without case, `_` and `-`.
fn is_personal_anywhere(key: &str) -> bool {
    matches!(
        key,
        "ip" | "ipaddress"
            | "useragent"
            | "ua"
            | "visitorid"
            | "email"
            | "emailaddress"
            | "phone"
            | "phonenumber"
            | "avatar"
            | "clientip"
            | "remoteip"
    )
}
/// Parts of keys that name a person inside an object that describes one: `first_name`, `avatar_url`.
const INSIDE_A_PERSON: [&str; 8] =
    ["name", "email", "phone", "avatar", "address", "image", "photo", "birth"];
/// Objects that describe a person, and lists of them.
const PERSONS: [&str; 9] =
    ["customer", "user", "visitor", "lead", "contact", "buyer", "person", "partner", "subscriber"];
/// What follows a person's name in a key of its own, as in `customer_email`.
const OF_A_PERSON: [&str; 5] = ["name", "email", "phone", "avatar", "address"];

/// Whether an object under this key describes a person, or a list under it several.
fn is_person(key: &str) -> bool {
    PERSONS.contains(&key)
        || key.strip_suffix('s').is_some_and(|one| PERSONS.contains(&one))
        || key == "people"
}

/// Whether a key names a person and what of them, as `customer_email`.
fn is_of_a_person(key: &str) -> bool {
    // A profile's own name in its address is what it is known by.
    key != "username"
        && PERSONS.iter().any(|person| {
            // Nearly every key differs from nearly every person in its first letter.
            key.as_bytes().first() == person.as_bytes().first()
                && key
                    .strip_prefix(person)
                    .is_some_and(|rest| OF_A_PERSON.iter().any(|part| rest.starts_with(part)))
        })
}

/// The keys that are removed from what is kept, at any depth (CONTRACT.md section 4).
#[derive(Debug, Clone, Default)]
pub struct PersonalKeys(BTreeSet<String>);

impl PersonalKeys {
    /// The built-in keys and these.
    pub fn with(extra: impl IntoIterator<Item = String>) -> Self {
        Self(extra.into_iter().map(|key| folded(&key).into_owned()).collect())
    }

    /// Removes them.
    pub fn redact(&self, value: &mut Value) {
        self.redact_inside(value, false);
    }

    fn redact_inside(&self, value: &mut Value, person: bool) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, inner| {
                    let inside = self.inside(key, person);
                    if let Some(person) = inside {
                        self.redact_inside(inner, person);
                    }
                    inside.is_some()
                });
            }
            Value::Array(items) => {
                for item in items {
                    self.redact_inside(item, person);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }

    /// Removes them from what is about to be kept.
    pub(crate) fn redact_object(&self, fields: &mut Object<'_>) {
        self.redact_fields(fields, false);
    }

    fn redact_fields(&self, fields: &mut Object<'_>, person: bool) {
        fields.retain(|key, inner| {
            let inside = self.inside(key, person);
            if let Some(person) = inside {
                self.redact_node(inner, person);
            }
            inside.is_some()
        });
    }

    fn redact_node(&self, node: &mut Node<'_>, person: bool) {
        match node {
            Node::Object(fields) => self.redact_fields(fields, person),
            Node::Array(items) => {
                for item in items {
                    self.redact_node(item, person);
                }
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => (),
        }
    }

    /// Whether what stands under this key is about a person; none if it is removed. What stands deeper
    /// inside a person is still about them.
    fn inside(&self, key: &str, person: bool) -> Option<bool> {
        let key = folded(key);
        (!self.names_a_person(&key, person)).then(|| person || is_person(&key))
    }

    fn names_a_person(&self, key: &str, inside_a_person: bool) -> bool {
        is_personal_anywhere(key)
            || self.0.contains(key)
            || is_of_a_person(key)
            || (inside_a_person && INSIDE_A_PERSON.iter().any(|part| key.contains(part)))
    }
}

/// Without case, `_` and `-`. Most keys are as they should be, and need no copy.
fn folded(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9')) {
        return Cow::Borrowed(key);
    }
    if key.is_ascii() {
        let mut folded = Vec::with_capacity(key.len());
        folded.extend(key.bytes().filter(|byte| !matches!(byte, b'_' | b'-')));
        folded.make_ascii_lowercase();
        return Cow::Owned(String::from_utf8(folded).expect("ASCII without some of it is ASCII"));
    }
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn every_key_is_folded_alike(key in r"([a-zA-Z0-9_\-]{0,12}|.{0,12})") {
            let plainly: String =
                key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
            prop_assert_eq!(folded(&key), plainly);
        }
    }

    #[test]
    fn keys_that_name_a_person_go_at_any_depth() {
        let mut value = json!({
            "ip": "203.0.113.7", "userAgent": "x", "title": "kept",
            "click": {"ip": "203.0.113.7", "city": "Berlin", "list": [{"visitor_id": "v"}]},
            "customer": {"id": "c1", "name": "Ann", "email": "a@b.c", "avatar": "u", "phone": "1"},
            "link": {"name": "kept"}, "shoe-size": 44, "username": "kept",
            "partner": {"username": "a", "avatar_url": "b", "plan": "kept"},
            "customers": [{"displayName": "a", "id": 1}], "customer_email": "a", "leadName": "b",
        });
        PersonalKeys::with(["shoe_size".to_owned()]).redact(&mut value);
        assert_eq!(
            value,
            json!({
                "title": "kept", "click": {"city": "Berlin", "list": [{}]},
                "customer": {"id": "c1"}, "link": {"name": "kept"}, "username": "kept",
                "partner": {"plan": "kept"}, "customers": [{"id": 1}],
            })
        );
    }

    #[test]
    fn a_visitor_is_the_same_under_the_same_key_alone() {
        let key = VisitorKey::new(b"0123456789abcdef").expect("16 bytes");
        let other = VisitorKey::new(b"fedcba9876543210").expect("16 bytes");
        assert!(VisitorKey::new(b"short").is_none());
        let ann = key.visitor(Some("ann"), Some("203.0.113.7"), None);
        assert_eq!(ann, key.visitor(Some("ann"), None, Some("x")));
        assert_ne!(ann, other.visitor(Some("ann"), None, None));
        assert_ne!(key.of_address("1", "2x"), key.of_address("12", "x"));
        assert_eq!(key.visitor(None, None, Some("browser")), None);
    }

    #[test]
    fn a_visitor_survives_json() {
        let text = serde_json::to_string(&VisitorId(0x0f)).expect("writes");
        assert_eq!(text, "\"000000000000000f\"");
        assert_eq!(serde_json::from_str::<VisitorId>(&text).expect("reads"), VisitorId(0x0f));
    }
}
