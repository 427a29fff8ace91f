//! From a verified body to events: envelopes, identities, event times (CONTRACT.md section 2).

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::event::{Body, Event};
use crate::fields::{Fields, is_exact, moment_of};
use crate::moment::Timestamp;
use crate::names::{EventType, Identity};
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
    let body = verified.body();
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    if !is_array {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|e| not_json(&e))?;
        let place = Place { index: None };
        return Ok(vec![event(raw, place, verified, source, context, now)?]);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| not_json(&e))?;
    if items.is_empty() || items.len() > BATCH_MAX {
        let count = items.len();
        return Err(malformed(format!("an array holds 1 to {BATCH_MAX} envelopes, not {count}")));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            event(raw, Place { index: Some(index) }, verified, source, context, now)
        })
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

fn event(
    raw: &RawValue,
    place: Place,
    verified: &Verified<'_>,
    source: &Source,
    context: &Context,
    now: Timestamp,
) -> Result<Event, Rejection> {
    let value: Value = serde_json::from_str(raw.get())
        .or_else(|_| serde_json::from_str(&without_lone_surrogates(raw.get())))
        .map_err(|_| place.fault("nested too deeply, or a number out of range"))?;
    let Value::Object(mut envelope) = value else {
        return Err(place.fault(&format!("expected an object, found {}", kind_of(&value))));
    };
    let platform = source.scheme.platform;
    let (type_field, time_field) = match platform {
        Platform::Linktree | Platform::Standard => ("type", "timestamp"),
        Platform::Dub => ("event", "createdAt"),
    };
    let event_type = required_text(&envelope, type_field, place)?;
    let envelope_time = required_time(&envelope, time_field, platform, place)?;
    if source.scheme.timestamp == TimestampPlace::Nowhere
        && now.millis_since(envelope_time) > context.dedupe_window_ms
    {
        return Err(Rejection::StaleTimestamp);
    }
    let identity = identity(&envelope, raw, place, verified, platform)?;
    let mut data = match envelope.remove("data") {
        Some(Value::Object(data)) => data,
        Some(other) => {
            let found = kind_of(&other);
            return Err(place.fault(&format!("`data`: expected an object, found {found}")));
        }
        None => return Err(place.fault("`data` is missing")),
    };
    let made = match platform {
        Platform::Linktree | Platform::Standard => {
            linktree::body(&event_type, Fields(&data), &context.visitors)
        }
        Platform::Dub => dub::body(&event_type, Fields(&data), &context.visitors),
    };
    let (body, own_time) = made.unwrap_or_else(|reason| {
        let event_type = EventType::given(linktree::canonical(&event_type));
        (Body::Unfit { event_type, reason }, None)
    });
    // What the envelope holds beside the four known fields is kept too, unless `data` has its own.
    for (field, value) in envelope {
        if ![type_field, time_field, "id"].contains(&field.as_str()) {
            data.entry(field).or_insert(value);
        }
    }
    let mut payload = Value::Object(data);
    context.personal.redact(&mut payload);
    Ok(Event {
        source: source.name.clone(),
        identity,
        occurred_at: own_time.unwrap_or(envelope_time),
        received_at: now,
        entry: None,
        body,
        payload: payload.to_string().into(),
    })
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
    envelope: &Map<String, Value>,
    raw: &RawValue,
    place: Place,
    verified: &Verified<'_>,
    platform: Platform,
) -> Result<Identity, Rejection> {
    match envelope.get("id") {
        Some(Value::String(id)) if !id.is_empty() => return Ok(Identity::given(id)),
        Some(Value::Number(id)) if is_exact(id) => return Ok(Identity::given(&id.to_string())),
        // Too large to be told from its neighbours once it is a float: the bytes tell.
        Some(Value::Number(_)) => return Ok(Identity::of_bytes(raw.get().as_bytes())),
        None | Some(Value::Null) if platform != Platform::Dub => (),
        None | Some(Value::Null) => return Err(place.fault("`id` is missing")),
        Some(Value::String(_)) => return Err(place.fault("`id` is empty")),
        Some(other) => {
            let found = kind_of(other);
            return Err(place.fault(&format!("`id`: expected a string, found {found}")));
        }
    }
    match verified.id() {
        Some(id) => {
            let id = String::from_utf8_lossy(id);
            Ok(match place.index {
                Some(index) => Identity::given(&format!("{id}#{index}")),
                None => Identity::given(&id),
            })
        }
        None => Ok(Identity::of_bytes(raw.get().as_bytes())),
    }
}

fn required_text(
    envelope: &Map<String, Value>,
    field: &str,
    place: Place,
) -> Result<String, Rejection> {
    match envelope.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(place.fault(&format!("`{field}` is empty"))),
        Some(other) => {
            let found = kind_of(other);
            Err(place.fault(&format!("`{field}`: expected a string, found {found}")))
        }
        None => Err(place.fault(&format!("`{field}` is missing"))),
    }
}

fn required_time(
    envelope: &Map<String, Value>,
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

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
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
