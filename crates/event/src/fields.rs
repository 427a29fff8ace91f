//! Lenient reading of a platform's `data`: null equals absent, numbers may come as strings.

use std::borrow::Cow;

use compact_str::CompactString;
use serde_json::Number;

use crate::derive::referrer_of;
use crate::moment::Timestamp;
use crate::names::{BadName, LinkId, ProfileId};
use crate::node::{Node, Object};

/// The fields of one JSON object.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Object<'a>);

impl<'a> Fields<'a> {
    /// The first of these names that is there and not null.
    pub(crate) fn first(self, names: &[&str]) -> Option<&'a Node<'a>> {
        names.iter().find_map(|name| self.0.get(name).filter(|value| !matches!(value, Node::Null)))
    }

    /// A text; anything else counts as absent.
    pub(crate) fn text(self, names: &[&str]) -> Option<&'a str> {
        self.first(names)?.as_str()
    }

    /// What tells one visitor from another: a text that is not blank, or a number as text.
    pub(crate) fn token(self, name: &str) -> Option<Cow<'a, str>> {
        match self.first(&[name])? {
            Node::Text(text) if text.as_str().trim().is_empty() => None,
            Node::Text(text) => Some(Cow::Borrowed(text.as_str())),
            Node::Number(number) if is_exact(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// A boolean.
    pub(crate) fn flag(self, name: &str) -> Option<bool> {
        self.first(&[name])?.as_bool()
    }

    /// Who referred: a value that is no text is as hostile as one that is no address.
    pub(crate) fn referrer(self, names: &[&str]) -> CompactString {
        match self.first(names) {
            None => referrer_of(None),
            Some(value) => referrer_of(Some(value.as_str().unwrap_or("not a text"))),
        }
    }

    /// A whole number, also one that is written as `1000.0` or `"1000"`.
    pub(crate) fn integer(self, name: &str) -> Option<i64> {
        let value = self.first(&[name])?;
        let whole = |float: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
        };
        let written = || value.as_str()?.trim().parse().ok();
        let number = value.as_number();
        number
            .and_then(Number::as_i64)
            .or_else(|| number.and_then(Number::as_f64).and_then(whole))
            .or_else(written)
    }

    /// An object inside this one.
    pub(crate) fn object(self, name: &str) -> Option<Fields<'a>> {
        self.first(&[name])?.as_object().map(Fields)
    }

    /// A moment: RFC 3339, Unix seconds or Unix milliseconds, as a number or as a string.
    pub(crate) fn moment(self, names: &[&str]) -> Option<Timestamp> {
        moment_of(self.first(names)?)
    }

    /// An id under one of these names. The reason of the dead letter names the first of them.
    pub(crate) fn profile_id(self, names: &[&str]) -> Result<ProfileId, String> {
        self.id(names, "profile_id", ProfileId::new)
    }

    /// As [`Fields::profile_id`], for links.
    pub(crate) fn link_id(self, names: &[&str]) -> Result<LinkId, String> {
        self.id(names, "link_id", LinkId::new)
    }

    fn id<T>(
        self,
        names: &[&str],
        field: &str,
        check: impl Fn(&str) -> Result<T, BadName>,
    ) -> Result<T, String> {
        let checked = match self.first(names) {
            None => return Err(format!("missing_field:{field}")),
            Some(Node::Text(text)) if text.as_str().trim().is_empty() => {
                return Err(format!("missing_field:{field}"));
            }
            Some(Node::Text(text)) => check(text.as_str()),
            Some(Node::Number(number)) if is_exact(number) => check(&number.to_string()),
            Some(_) => Err(BadName("not a text")),
        };
        checked.map_err(|_| format!("invalid_field:{field}"))
    }
}

/// Whether a number names one thing: a float stands for all its neighbours.
pub(crate) fn is_exact(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

/// RFC 3339, Unix seconds or Unix milliseconds, as a number or as a string.
pub(crate) fn moment_of(value: &Node<'_>) -> Option<Timestamp> {
    match value {
        Node::Number(number) => match number.as_i64() {
            Some(whole) => Some(Timestamp::from_number(whole)),
            None => number.as_f64().map(Timestamp::from_fraction),
        },
        Node::Text(text) => {
            let text = text.as_str().trim();
            Timestamp::from_rfc3339(text).or_else(|| text.parse().ok().map(Timestamp::from_number))
        }
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => None,
    }
}
