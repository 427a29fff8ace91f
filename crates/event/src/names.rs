//! The names that events carry: sources, identities, profiles, links, event types.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest profile or link id, in bytes. Platforms use 8 to 40.
const LONGEST_ID: usize = 200;
/// Longest identity kept as it came, in bytes; a longer one is kept as its SHA-256.
const LONGEST_IDENTITY: usize = 200;
/// Longest event type, in characters: with the source it must fit AMQP's 255 bytes of routing key.
const LONGEST_TYPE: usize = 100;

/// A name that cannot be taken: empty, too long, or with characters that do not belong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub &'static str);

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(CompactString);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// What our own store or message held: checked when it was first taken in.
            pub fn trusted(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype! {
    /// A sender's name, the last part of `/webhooks/{source}`: 1 to 64 of `a-z 0-9 - _`.
    SourceName
}
text_newtype! {
    /// The idempotency key, unique per source (CONTRACT.md section 2).
    Identity
}
text_newtype! {
    /// A profile at its platform: 1 to 200 bytes without control characters.
    ProfileId
}
text_newtype! {
    /// A link at its platform: 1 to 200 bytes without control characters.
    LinkId
}
text_newtype! {
    /// An event type, canonical or as the platform named it.
    EventType
}

impl SourceName {
    /// Checks a configured name.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
            return Err(BadName("a source's name is 1 to 64 of a-z, 0-9, - and _"));
        }
        Ok(Self(text.into()))
    }
}

impl Identity {
    /// An identity that the sender gave. What is too long, or would not survive a log line, is
    /// replaced by its SHA-256: still one name for one event.
    pub fn given(text: &str) -> Self {
        if text.len() > LONGEST_IDENTITY || text.chars().any(char::is_control) {
            Self::of_bytes(text.as_bytes())
        } else {
            Self(text.into())
        }
    }

    /// The SHA-256 of the raw bytes, for an envelope that names no id.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))).into())
    }
}

fn checked_id(text: &str) -> Result<CompactString, BadName> {
    if text.is_empty() || text.len() > LONGEST_ID || text.chars().any(char::is_control) {
        return Err(BadName("an id is 1 to 200 bytes without control characters"));
    }
    Ok(text.into())
}

impl ProfileId {
    /// Checks an id from outside.
    pub fn new(text: &str) -> Result<Self, BadName> {
        checked_id(text).map(Self)
    }
}

impl LinkId {
    /// Checks an id from outside.
    pub fn new(text: &str) -> Result<Self, BadName> {
        checked_id(text).map(Self)
    }
}

impl EventType {
    /// A type from outside: control characters removed, cut to 100 characters. Unknown types are
    /// never an error (CONTRACT.md section 2), so this cannot fail.
    pub fn given(text: &str) -> Self {
        let kept: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TYPE).collect();
        // CloudEvents wants a type, and a routing key its second part.
        Self(if kept.trim().is_empty() { "unknown".into() } else { kept.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_bounds() {
        for good in ["linktree", "client-7", "a_b"] {
            assert!(SourceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Linktree", "a/b", "é", &"a".repeat(65)] {
            assert!(SourceName::new(bad).is_err(), "{bad}");
        }
        assert!(ProfileId::new(&"p".repeat(200)).is_ok());
        assert!(ProfileId::new(&"p".repeat(201)).is_err());
        assert!(LinkId::new("a\0b").is_err());
    }

    #[test]
    fn an_identity_too_long_or_unprintable_becomes_its_digest() {
        assert_eq!(Identity::given("evt_1").as_str(), "evt_1");
        assert!(Identity::given(&"x".repeat(201)).as_str().starts_with("sha256:"));
        assert!(Identity::given("a\nb").as_str().starts_with("sha256:"));
    }
}
