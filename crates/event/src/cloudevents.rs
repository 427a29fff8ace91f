//! Events as a CloudEvents 1.0 JSON batch: what a message on the broker and a row in the outbox hold.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{Body, Event};
use crate::moment::Timestamp;
use crate::names::{Identity, SourceName};

/// What stands before the source's name in CloudEvents' `source` (a URI reference).
const SOURCE_PREFIX: &str = "/webhooks/";

/// One event in CloudEvents' JSON format. `receivedtime` and `ledgerentry` are our extension
/// attributes.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    specversion: Cow<'a, str>,
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    time: Cow<'a, str>,
    receivedtime: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ledgerentry: Option<Cow<'a, str>>,
    datacontenttype: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// What was derived, and what the platform sent.
#[derive(Serialize, Deserialize)]
struct Data<'a> {
    event: Cow<'a, Body>,
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
    let mut bytes = Vec::with_capacity(700);
    encode_into(&mut bytes, event);
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

/// Appends one event, as `application/cloudevents+json`.
pub(crate) fn encode_into(bytes: &mut Vec<u8>, event: &Event) {
    // A payload that is not JSON cannot be embedded; `parse` and `decode_batch` only make JSON.
    let payload: &RawValue =
        serde_json::from_str(&event.payload).expect("an event's payload is JSON");
    let subject = event.profile_id().map(|profile| match event.link_id() {
        Some(link) => Cow::Owned(format!("{profile}/{link}")),
        None => Cow::Borrowed(profile.as_str()),
    });
    let wire = Wire {
        specversion: Cow::Borrowed("1.0"),
        id: Cow::Borrowed(event.identity.as_str()),
        source: Cow::Owned(format!("{SOURCE_PREFIX}{}", event.source)),
        event_type: Cow::Borrowed(event.event_type()),
        subject,
        time: Cow::Owned(event.occurred_at.to_rfc3339()),
        receivedtime: Cow::Owned(event.received_at.to_rfc3339()),
        ledgerentry: event.entry.map(|entry| Cow::Owned(entry.to_string())),
        datacontenttype: Cow::Borrowed("application/json"),
        data: Data { event: Cow::Borrowed(&event.body), payload },
    };
    serde_json::to_writer(bytes, &wire).expect("writing JSON to memory cannot fail");
}

/// Reads what [`encode_batch`] wrote, and a single event as well. An element that cannot be read
/// becomes an [`Event::unreadable`] of its own, so that its neighbours count; only bytes that are no
/// batch at all are an error.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Event>, Undecodable> {
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        let wire = serde_json::from_slice(bytes).map_err(|error| refused(&error))?;
        return Ok(vec![read(wire)?]);
    }
    let elements: Vec<&RawValue> =
        serde_json::from_slice(bytes).map_err(|error| refused(&error))?;
    let decoded = |element: &&RawValue| {
        let wire = serde_json::from_str(element.get()).map_err(|error| refused(&error));
        wire.and_then(read).unwrap_or_else(|why| glimpse(element, &why.0))
    };
    Ok(elements.iter().map(decoded).collect())
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

fn read(wire: Wire<'_>) -> Result<Event, Undecodable> {
    let missing = |what: &str| Undecodable(format!("its `{what}` cannot be read"));
    if wire.specversion != "1.0" {
        return Err(missing("specversion"));
    }
    let entry = wire.ledgerentry.map(|text| text.parse()).transpose();
    let source = wire.source.strip_prefix(SOURCE_PREFIX).ok_or_else(|| missing("source"))?;
    Ok(Event {
        source: SourceName::trusted(source),
        identity: Identity::trusted(&wire.id),
        occurred_at: Timestamp::from_rfc3339(&wire.time).ok_or_else(|| missing("time"))?,
        received_at: Timestamp::from_rfc3339(&wire.receivedtime)
            .ok_or_else(|| missing("receivedtime"))?,
        entry: entry.map_err(|_| missing("ledgerentry"))?,
        body: wire.data.event.into_owned(),
        payload: wire.data.payload.get().into(),
    })
}
