//! A JSON value as it stands in a body: its texts are borrowed, its objects are sorted lists.

use std::borrow::Cow;
use std::fmt::{Formatter, Result as Formatted, Write as _};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Room for the fields of an object from the start: few have more.
const FIELDS: usize = 8;

/// What `serde_json::Value` would be, without a copy of each text and without a tree per object.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text<'a>),
    Array(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// A text. Borrowed is what was written without an escape, and so can be written back without one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<'a>(Cow<'a, str>);

/// An object's fields, sorted, each key once: of a key that is given twice, the last one counts.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Text<'a>, Node<'a>)>);

impl<'a> Node<'a> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text.as_str())
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        let Self::Bool(flag) = self else { return None };
        Some(*flag)
    }

    pub(crate) fn as_number(&self) -> Option<&Number> {
        let Self::Number(number) = self else { return None };
        Some(number)
    }

    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        let Self::Object(object) = self else { return None };
        Some(object)
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    fn write(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(true) => json.push_str("true"),
            Self::Bool(false) => json.push_str("false"),
            Self::Number(number) => {
                write!(json, "{number}").expect("writing to memory cannot fail");
            }
            Self::Text(text) => text.write(json),
            Self::Array(items) => {
                json.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        json.push(',');
                    }
                    item.write(json);
                }
                json.push(']');
            }
            Self::Object(object) => object.write(json),
        }
    }
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn write(&self, json: &mut String) {
        match &self.0 {
            Cow::Borrowed(plain) => {
                json.push('"');
                json.push_str(plain);
                json.push('"');
            }
            Cow::Owned(text) => {
                json.push_str(&serde_json::to_string(text).expect("a text can be written"));
            }
        }
    }
}

impl<'a> Object<'a> {
    /// Of fields in the order in which they were given.
    fn of(mut fields: Vec<(Text<'a>, Node<'a>)>) -> Self {
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields.dedup_by(|later, earlier| {
            let again = later.0 == earlier.0;
            if again {
                std::mem::swap(later, earlier);
            }
            again
        });
        Self(fields)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node<'a>> {
        // Most keys differ in length already, and objects are short: quicker than by halves.
        self.0.iter().find(|(given, _)| given.as_str() == key).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Node<'a>> {
        let position = self.0.iter().position(|(given, _)| given.as_str() == key)?;
        Some(self.0.remove(position).1)
    }

    /// Keeps the fields that this says yes to; it may change their values.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str, &mut Node<'a>) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key.as_str(), value));
    }

    /// Takes in another's fields, but for those that it has itself.
    pub(crate) fn complete_with(&mut self, other: Self) {
        if other.0.is_empty() {
            return;
        }
        let mut fields = other.0;
        fields.append(&mut self.0);
        *self = Self::of(fields);
    }

    fn write(&self, json: &mut String) {
        json.push('{');
        for (position, (key, value)) in self.0.iter().enumerate() {
            if position > 0 {
                json.push(',');
            }
            key.write(json);
            json.push(':');
            value.write(json);
        }
        json.push('}');
    }

    /// As JSON, in the form that `serde_json::Value` has.
    pub(crate) fn to_json(&self, room: usize) -> String {
        let mut json = String::with_capacity(room);
        self.write(&mut json);
        json
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, plain: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(plain)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map_or(Node::Null, Node::Number))
    }

    fn visit_borrowed_str<E: Error>(self, plain: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Text(Cow::Borrowed(plain))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = given.next_key()? {
            if fields.is_empty() {
                fields.reserve(FIELDS);
            }
            fields.push((key, given.next_value()?));
        }
        Ok(Node::Object(Object::of(fields)))
    }
}
