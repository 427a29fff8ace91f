//! Events as a CloudEvents 1.0 JSON batch: what a message on the broker and a row in the outbox hold.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{Body, Event};
use crate::moment::Timestamp;
use crate::names::{Identity, SourceName};

/// What stands before the source's name in CloudEvents' `source` (a URI reference).
const SOURCE_PREFIX: &str = "/webhooks/";
/// Room for what an event is written with beside its payload.
const ATTRIBUTES: usize = 450;

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
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    receivedtime: Cow<'a, str>,
    ledgerentry: Option<Cow<'a, str>>,
    #[serde(borrow)]
    datacontenttype: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

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
    push(bytes, event.identity.as_str());
    bytes.extend_from_slice(br#","source":"#);
    push(bytes, &format_args!("{SOURCE_PREFIX}{}", event.source));
    bytes.extend_from_slice(br#","type":"#);
    push(bytes, event.event_type());
    if let Some(profile) = event.profile_id() {
        bytes.extend_from_slice(br#","subject":"#);
        match event.link_id() {
            Some(link) => push(bytes, &format_args!("{profile}/{link}")),
            None => push(bytes, profile.as_str()),
        }
    }
    bytes.extend_from_slice(br#","time":""#);
    bytes.extend_from_slice(&event.occurred_at.rfc3339());
    bytes.extend_from_slice(br#"","receivedtime":""#);
    bytes.extend_from_slice(&event.received_at.rfc3339());
    bytes.push(b'"');
    if let Some(entry) = event.entry {
        bytes.extend_from_slice(br#","ledgerentry":"#);
        push(bytes, &format_args!("{entry}"));
    }
    bytes.extend_from_slice(br#","datacontenttype":"application/json","data":{"event":"#);
    push(bytes, &event.body);
    bytes.extend_from_slice(br#","payload":"#);
    bytes.extend_from_slice(event.payload.as_bytes());
    bytes.extend_from_slice(b"}}");
}

fn push<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(bytes, value).expect("writing JSON to memory cannot fail");
}

/// Reads what [`encode_batch`] wrote, and a single event as well. An element that cannot be read
/// becomes an [`Event::unreadable`] of its own, so that its neighbours count; only bytes that are no
/// batch at all are an error.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Event>, Undecodable> {
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        let wire = serde_json::from_slice(bytes).map_err(|error| refused(&error))?;
        return Ok(vec![read(wire)?]);
    }
    // Nearly always all of them are ours, and then they are read once.
    if let Ok(wires) = serde_json::from_slice::<Vec<Wire<'_>>>(bytes)
        && let Ok(events) = wires.into_iter().map(read).collect()
    {
        return Ok(events);
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
        body: wire.data.event,
        payload: wire.data.payload.get().into(),
    })
}
