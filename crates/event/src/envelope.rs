//! From a verified body to events: envelopes, identities, event times (CONTRACT.md section 2).

use serde_json::value::RawValue;

use crate::event::{Body, Event};
use crate::fields::{Fields, is_exact, moment_of};
use crate::moment::Timestamp;
use crate::names::{EventType, Identity};
use crate::node::{Node, Object};
use crate::privacy::{PersonalKeys, VisitorKey};
use crate::rejection::Rejection;
use crate::scheme::TimestampPlace;
use crate::signature::{Source, Verified};
use crate::{dub, linktree};

/// Envelopes in one delivery, at most (CONTRACT.md section 2).
pub const BATCH_MAX: usize = 1000;

/// Whose envelopes a source sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// `{"type", "timestamp", "data", "id"?}`
    Linktree,
    /// `{"id", "event", "createdAt", "data"}`
    Dub,
    /// `{"type", "timestamp", "data"}`, identity from the signed message id.
    Standard,
}

/// What parsing needs to know beside the body.
#[derive(Debug, Clone)]
pub struct Context {
    /// For pseudonyms.
    pub visitors: VisitorKey,
    /// Keys to remove from what is kept.
    pub personal: PersonalKeys,
    /// How long identities are remembered, in milliseconds: what is not signed with a timestamp
    /// and older than this could be a replay that nobody remembers.
    pub dedupe_window_ms: i64,
}

/// Parses a verified body into events. An array is taken or refused as a whole.
pub fn parse(
    verified: &Verified<'_>,
    source: &Source,
    context: &Context,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let delivery = Delivery { verified, source, context, now };
    let body = verified.body();
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    if !is_array {
        return Ok(vec![delivery.only_event(body)?]);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| not_json(&e))?;
    if items.is_empty() || items.len() > BATCH_MAX {
        let count = items.len();
        return Err(malformed(format!("an array holds 1 to {BATCH_MAX} envelopes, not {count}")));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, raw)| delivery.event(raw.get(), Place { index: Some(index) }))
        .collect()
}

/// Where in the delivery an envelope stands.
#[derive(Clone, Copy)]
struct Place {
    index: Option<usize>,
}

impl Place {
    fn fault(self, what: &str) -> Rejection {
        match self.index {
            Some(index) => malformed(format!("envelope [{index}]: {what}")),
            None => malformed(format!("envelope: {what}")),
        }
    }
}

fn malformed(what: String) -> Rejection {
    Rejection::MalformedPayload(what)
}

/// Says where, in our own words: the parser's own message may quote the payload.
fn not_json(error: &serde_json::Error) -> Rejection {
    malformed(format!("not JSON at line {}, column {}", error.line(), error.column()))
}

/// What all envelopes of a delivery have in common.
struct Delivery<'a> {
    verified: &'a Verified<'a>,
    source: &'a Source,
    context: &'a Context,
    now: Timestamp,
}

impl Delivery<'_> {
    /// The event of a body that is one envelope. Nearly all can be read at once; what cannot is
    /// looked at again, to say where it is wrong.
    fn only_event(&self, body: &[u8]) -> Result<Event, Rejection> {
        let place = Place { index: None };
        let text = std::str::from_utf8(body).ok();
        if let Some((text, node)) = text.and_then(|t| Some((t, serde_json::from_str(t).ok()?))) {
            // Around a JSON value that was read there is nothing but JSON's white space.
            return self.event_of(node, text.trim_ascii(), place);
        }
        let raw: &RawValue = serde_json::from_slice(body).map_err(|e| not_json(&e))?;
        self.event(raw.get(), place)
    }

    fn event(&self, raw: &str, place: Place) -> Result<Event, Rejection> {
        if let Ok(node) = serde_json::from_str(raw) {
            return self.event_of(node, raw, place);
        }
        let mended = without_lone_surrogates(raw);
        let node = serde_json::from_str(&mended)
            .map_err(|_| place.fault("nested too deeply, or a number out of range"))?;
        self.event_of(node, raw, place)
    }

    /// `raw` is what the envelope was read from, byte for byte.
    fn event_of(&self, node: Node<'_>, raw: &str, place: Place) -> Result<Event, Rejection> {
        let Self { verified, source, context, now } = *self;
        let Node::Object(mut envelope) = node else {
            return Err(place.fault(&format!("expected an object, found {}", node.kind())));
        };
        let platform = source.scheme.platform;
        let (type_field, time_field) = match platform {
            Platform::Linktree | Platform::Standard => ("type", "timestamp"),
            Platform::Dub => ("event", "createdAt"),
        };
        let data = envelope.remove("data");
        let event_type = required_text(&envelope, type_field, place)?;
        let envelope_time = required_time(&envelope, time_field, platform, place)?;
        if source.scheme.timestamp == TimestampPlace::Nowhere
            && now.millis_since(envelope_time) > context.dedupe_window_ms
        {
            return Err(Rejection::StaleTimestamp);
        }
        let identity = identity(&envelope, raw, place, verified, platform)?;
        let mut data = match data {
            Some(Node::Object(data)) => data,
            Some(other) => {
                let found = other.kind();
                return Err(place.fault(&format!("`data`: expected an object, found {found}")));
            }
            None => return Err(place.fault("`data` is missing")),
        };
        let made = match platform {
            Platform::Linktree | Platform::Standard => {
                linktree::body(event_type, Fields(&data), &context.visitors)
            }
            Platform::Dub => dub::body(event_type, Fields(&data), &context.visitors),
        };
        let (body, own_time) = made.unwrap_or_else(|reason| {
            let event_type = EventType::given(linktree::canonical(event_type));
            (Body::Unfit { event_type, reason }, None)
        });
        // What the envelope holds beside the four known fields is kept too, unless `data` has its own.
        envelope.retain(|field, _| ![type_field, time_field, "id"].contains(&field));
        data.complete_with(envelope);
        context.personal.redact_object(&mut data);
        Ok(Event {
            source: source.name.clone(),
            identity,
            occurred_at: own_time.unwrap_or(envelope_time),
            received_at: now,
            entry: None,
            body,
            // What was taken out leaves room that nobody accounts for.
            payload: data.to_json(raw.len()).into_boxed_str().into(),
        })
    }
}

/// The JSON text with U+FFFD for every half of a surrogate pair that stands alone: what a sender in
/// JavaScript writes when it cuts a text inside an emoji. It cannot mend that, and would retry for
/// ever.
fn without_lone_surrogates(json: &str) -> String {
    /// A `\uXXXX` escape at the start, as a number.
    fn escape(text: &str) -> Option<u32> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    }
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let (kept, length) = match (escape(rest), rest.get(6..).and_then(escape)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&rest[..12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
            (Some(_), _) => (&rest[..6], 6),
            // Another escape: the backslash and what it escapes, which is one byte in JSON.
            (None, _) => {
                let length = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                (&rest[..length], length)
            }
        };
        mended.push_str(kept);
        rest = &rest[length..];
    }
    mended.push_str(rest);
    mended
}

/// The idempotency key: the envelope's `id`, else the signed message id, else the raw bytes' digest.
fn identity(
    envelope: &Object<'_>,
    raw: &str,
    place: Place,
    verified: &Verified<'_>,
    platform: Platform,
) -> Result<Identity, Rejection> {
    match envelope.get("id") {
        Some(Node::Text(id)) if !id.as_str().is_empty() => return Ok(Identity::given(id.as_str())),
        Some(Node::Number(id)) if is_exact(id) => return Ok(Identity::given(&id.to_string())),
        // Too large to be told from its neighbours once it is a float: the bytes tell.
        Some(Node::Number(_)) => return Ok(Identity::of_bytes(raw.as_bytes())),
        None | Some(Node::Null) if platform != Platform::Dub => (),
        None | Some(Node::Null) => return Err(place.fault("`id` is missing")),
        Some(Node::Text(_)) => return Err(place.fault("`id` is empty")),
        Some(other) => {
            let found = other.kind();
            return Err(place.fault(&format!("`id`: expected a string, found {found}")));
        }
    }
    // An empty one names nothing: all deliveries that carry it would be taken for one.
    match verified.id().filter(|id| !id.trim_ascii().is_empty()) {
        Some(id) => {
            let id = String::from_utf8_lossy(id);
            Ok(match place.index {
                Some(index) => Identity::given(&format!("{id}#{index}")),
                None => Identity::given(&id),
            })
        }
        None => Ok(Identity::of_bytes(raw.as_bytes())),
    }
}

fn required_text<'a>(
    envelope: &'a Object<'_>,
    field: &str,
    place: Place,
) -> Result<&'a str, Rejection> {
    match envelope.get(field) {
        Some(Node::Text(text)) if !text.as_str().trim().is_empty() => Ok(text.as_str()),
        Some(Node::Text(_)) => Err(place.fault(&format!("`{field}` is empty"))),
        Some(other) => {
            let found = other.kind();
            Err(place.fault(&format!("`{field}`: expected a string, found {found}")))
        }
        None => Err(place.fault(&format!("`{field}` is missing"))),
    }
}

fn required_time(
    envelope: &Object<'_>,
    field: &str,
    platform: Platform,
    place: Place,
) -> Result<Timestamp, Rejection> {
    let value = envelope.get(field).ok_or_else(|| place.fault(&format!("`{field}` is missing")))?;
    moment_of(value).ok_or_else(|| {
        let expected = match platform {
            Platform::Linktree => "an RFC 3339 time or Unix seconds or milliseconds",
            Platform::Dub | Platform::Standard => "an RFC 3339 time",
        };
        place.fault(&format!("`{field}`: expected {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_everything_else_kept() {
        for (json, mended) in [
            (r#""x\ud83d""#, r#""x\ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83dé\\ud83d\n""#, r#""\ufffdé\\ud83d\n""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            ("\"\\u12", "\"\\u12"),
            ("\\", "\\"),
        ] {
            assert_eq!(without_lone_surrogates(json), mended, "{json}");
        }
    }
}
