//! Events as a CloudEvents 1.0 JSON batch: what a message on the broker and a row in the outbox hold.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::event::{Body, Event, Visit, VisitKind};
use crate::moment::Timestamp;
use crate::names::{Identity, SourceName};

/// What stands before the source's name in CloudEvents' `source` (a URI reference).
const SOURCE_PREFIX: &str = "/webhooks/";
const TO_MEMORY: &str = "writing JSON to memory cannot fail";
/// Room for what an event is written with beside its payload.
const ATTRIBUTES: usize = 450;
/// What an event takes as it is written, in bytes, about.
const EVENT_BYTES: usize = 1000;

/// One event in CloudEvents' JSON format, as [`encode_into`] writes it. `receivedtime` and
/// `ledgerentry` are our extension attributes.
#[derive(Deserialize)]
#[expect(dead_code, reason = "some attributes only have to be there, and to be texts")]
struct Wire<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Option<Text<'a>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    receivedtime: Cow<'a, str>,
    #[serde(borrow)]
    ledgerentry: Option<Text<'a>>,
    #[serde(borrow)]
    datacontenttype: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// Borrowed where it is escaped nowhere, within an option as well.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was derived, and what the platform sent.
#[derive(Deserialize)]
struct Data<'a> {
    event: Body,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Bytes that are not a batch of ours: written by another version, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of events: {0}")]
pub struct Undecodable(pub String);

/// `application/cloudevents-batch+json`: a JSON array of events.
pub fn encode_batch(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + events.len() * 700);
    bytes.push(b'[');
    for (position, event) in events.iter().enumerate() {
        if position > 0 {
            bytes.push(b',');
        }
        encode_into(&mut bytes, event);
    }
    bytes.push(b']');
    bytes
}

/// One event, as `application/cloudevents+json`.
pub fn encode_event(event: &Event) -> String {
    let mut bytes = Vec::with_capacity(ATTRIBUTES + event.payload.len());
    encode_into(&mut bytes, event);
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// As [`encode_event`], after what these bytes hold already. Written by hand: the payload is JSON,
/// and would have to be read again for `serde_json` to believe it.
pub(crate) fn encode_into(bytes: &mut Vec<u8>, event: &Event) {
    debug_assert!(
        serde_json::from_str::<&RawValue>(&event.payload).is_ok(),
        "an event's payload is JSON"
    );
    bytes.extend_from_slice(br#"{"specversion":"1.0","id":"#);
    push_text(bytes, &[event.identity.as_str()]);
    bytes.extend_from_slice(br#","source":"#);
    push_text(bytes, &[SOURCE_PREFIX, event.source.as_str()]);
    bytes.extend_from_slice(br#","type":"#);
    push_text(bytes, &[event.event_type()]);
    if let Some(profile) = event.profile_id() {
        bytes.extend_from_slice(br#","subject":"#);
        match event.link_id() {
            Some(link) => push_text(bytes, &[profile.as_str(), "/", link.as_str()]),
            None => push_text(bytes, &[profile.as_str()]),
        }
    }
    bytes.extend_from_slice(br#","time":""#);
    bytes.extend_from_slice(&event.occurred_at.rfc3339());
    bytes.extend_from_slice(br#"","receivedtime":""#);
    bytes.extend_from_slice(&event.received_at.rfc3339());
    bytes.push(b'"');
    if let Some(entry) = event.entry {
        write!(bytes, r#","ledgerentry":"{entry}""#).expect(TO_MEMORY);
    }
    bytes.extend_from_slice(br#","datacontenttype":"application/json","data":{"event":"#);
    match &event.body {
        Body::Visit(visit) => push_visit(bytes, visit),
        rarer => push(bytes, rarer),
    }
    bytes.extend_from_slice(br#","payload":"#);
    bytes.extend_from_slice(event.payload.as_bytes());
    bytes.extend_from_slice(b"}}");
}

/// As `serde_json` writes it, which takes several times as long: nearly every event is one.
fn push_visit(bytes: &mut Vec<u8>, visit: &Visit) {
    bytes.extend_from_slice(br#"{"visit":{"kind":"#);
    match &visit.kind {
        VisitKind::View => bytes.extend_from_slice(br#""view""#),
        VisitKind::Click { link_id } => {
            bytes.extend_from_slice(br#"{"click":{"link_id":"#);
            push_text(bytes, &[link_id.as_str()]);
            bytes.extend_from_slice(b"}}");
        }
    }
    bytes.extend_from_slice(br#","profile_id":"#);
    push_text(bytes, &[visit.profile_id.as_str()]);
    if let Some(visitor) = visit.visitor {
        let mut digits = [0; 16];
        let encoded = hex::encode_to_slice(visitor.0.to_be_bytes(), &mut digits);
        encoded.expect("eight bytes have sixteen digits");
        bytes.extend_from_slice(br#","visitor":""#);
        bytes.extend_from_slice(&digits);
        bytes.push(b'"');
    }
    bytes.extend_from_slice(br#","country":"#);
    push_text(bytes, &[&visit.country]);
    bytes.extend_from_slice(br#","referrer":"#);
    push_text(bytes, &[&visit.referrer]);
    bytes.extend_from_slice(br#","device":"#);
    push_text(bytes, &[visit.device.as_str()]);
    if let Some(link) = &visit.link {
        bytes.extend_from_slice(br#","link":"#);
        push(bytes, link);
    }
    bytes.extend_from_slice(b"}}");
}

/// A text that consists of these parts.
fn push_text(bytes: &mut Vec<u8>, parts: &[&str]) {
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    bytes.push(b'"');
    for part in parts {
        // All of them are looked at, which takes less time than to stop at the first.
        if part.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
            // Each character is escaped by itself, so that a part between its quotes is a part of the whole.
            let quoted = serde_json::to_vec(part).expect(TO_MEMORY);
            bytes.extend_from_slice(&quoted[1..quoted.len() - 1]);
        } else {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes.push(b'"');
}

fn push<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(bytes, value).expect(TO_MEMORY);
}

/// Reads what [`encode_batch`] wrote, and a single event as well. An element that cannot be read
/// becomes an [`Event::unreadable`] of its own, so that its neighbours count; only bytes that are no
/// batch at all are an error.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Event>, Undecodable> {
    let batch = str::from_utf8(bytes).map_err(|_| not_utf8())?;
    decode(batch, &|payload| payload.into())
}

/// As [`decode_batch`], without a copy of the payloads: they stay parts of the batch.
pub(crate) fn decode_shared(batch: Bytes) -> Result<Vec<Event>, Undecodable> {
    let batch = ByteString::try_from(batch).map_err(|_| not_utf8())?;
    decode(&batch, &|payload| batch.slice_ref(payload))
}

fn not_utf8() -> Undecodable {
    Undecodable("not UTF-8".into())
}

/// Payloads are what `keep` makes of a part of the batch.
fn decode(batch: &str, keep: Keep<'_>) -> Result<Vec<Event>, Undecodable> {
    if !batch.trim_ascii_start().starts_with('[') {
        let wire = serde_json::from_str(batch).map_err(|error| refused(&error))?;
        return Ok(vec![read(wire, keep)?]);
    }
    // Nearly always all of them are ours, and then they are read once.
    let mut deserializer = serde_json::Deserializer::from_str(batch);
    if let Ok(events) = OneByOne(batch, keep).deserialize(&mut deserializer)
        && deserializer.end().is_ok()
    {
        return Ok(events);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(batch).map_err(|error| refused(&error))?;
    let decoded = |element: &&RawValue| {
        let wire = serde_json::from_str(element.get()).map_err(|error| refused(&error));
        wire.and_then(|wire| read(wire, keep)).unwrap_or_else(|why| glimpse(element, &why.0))
    };
    Ok(elements.iter().map(decoded).collect())
}

/// How a payload is kept.
type Keep<'a> = &'a dyn Fn(&str) -> ByteString;

/// A batch of which every element can be read. Each becomes an event at once: what stands in between is larger, and
/// nobody needs all of it.
struct OneByOne<'a>(&'a str, Keep<'a>);

impl<'de> DeserializeSeed<'de> for OneByOne<'_> {
    type Value = Vec<Event>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Event>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OneByOne<'_> {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Event>, A::Error> {
        let mut events = Vec::with_capacity(self.0.len() / EVENT_BYTES);
        while let Some(wire) = elements.next_element()? {
            events.push(read(wire, self.1).map_err(A::Error::custom)?);
        }
        Ok(events)
    }
}

/// The error's position alone: its text may quote the event.
fn refused(error: &serde_json::Error) -> Undecodable {
    Undecodable(format!("at line {}, column {}", error.line(), error.column()))
}

/// What an element that cannot be read as a whole still tells of itself.
fn glimpse(element: &RawValue, why: &str) -> Event {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Glimpse<'a> {
        #[serde(borrow)]
        time: Cow<'a, str>,
        #[serde(borrow)]
        source: Cow<'a, str>,
        #[serde(borrow)]
        ledgerentry: Cow<'a, str>,
    }
    let seen = serde_json::from_str::<Glimpse<'_>>(element.get()).unwrap_or_default();
    let time = Timestamp::from_rfc3339(&seen.time).unwrap_or_default();
    let mut event = Event::unreadable(element.get().as_bytes(), why, time);
    let source =
        seen.source.strip_prefix(SOURCE_PREFIX).and_then(|name| SourceName::new(name).ok());
    if let Some(source) = source {
        event.source = source;
        event.entry = seen.ledgerentry.parse().ok();
    }
    event
}

fn read(wire: Wire<'_>, keep: Keep<'_>) -> Result<Event, Undecodable> {
    let missing = |what: &str| Undecodable(format!("its `{what}` cannot be read"));
    if wire.specversion != "1.0" {
        return Err(missing("specversion"));
    }
    let entry = wire.ledgerentry.map(|text| text.0.parse()).transpose();
    let source = wire.source.strip_prefix(SOURCE_PREFIX).ok_or_else(|| missing("source"))?;
    let event = Event {
        source: SourceName::trusted(source),
        identity: Identity::trusted(&wire.id),
        occurred_at: Timestamp::from_rfc3339(&wire.time).ok_or_else(|| missing("time"))?,
        received_at: Timestamp::from_rfc3339(&wire.receivedtime)
            .ok_or_else(|| missing("receivedtime"))?,
        entry: entry.map_err(|_| missing("ledgerentry"))?,
        body: wire.data.event,
        payload: keep(wire.data.payload.get()),
    };
    if event.holds_nul() {
        return Err(Undecodable("one of its texts holds U+0000".into()));
    }
    Ok(event)
}
