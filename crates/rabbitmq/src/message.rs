//! How a slice of events becomes messages: one for each routing key, none of them too large.

use std::collections::HashMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use treehook_event::{Event, Timestamp, encode_event};
use uuid::{NoContext, Uuid};

/// Largest body that is grown by one more event, in bytes: a quorum queue copies a message to every
/// node, and a worker holds prefetch times as much (256 of these are 32 MiB).
const MESSAGE_BYTES: usize = 128 << 10;
/// Most events in a message: from here on it is no longer the messages that a worker's time goes to.
const MESSAGE_EVENTS: usize = 100;
/// Longest routing key and type: AMQP's short string.
const LONGEST_SHORT: usize = 255;
/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// One message, ready to be published.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) routing_key: ShortString,
    pub(crate) event_type: ShortString,
    pub(crate) body: Vec<u8>,
    events: usize,
}

/// Groups events by routing key, in order within each, as `encode_batch` would write them.
pub(crate) fn pack(events: &[Event]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    // The message of each key that still has room.
    let mut open: HashMap<(&str, &str), usize> = HashMap::new();
    for event in events {
        let encoded = encode_event(event);
        let key = (event.source.as_str(), event.event_type());
        match open.get(&key).map(|&at| &mut messages[at]) {
            Some(message) if message.has_room(encoded.len()) => message.push(&encoded),
            Some(_) | None => {
                open.insert(key, messages.len());
                messages.push(Message::start(key, &encoded));
            }
        }
    }
    for message in &mut messages {
        message.body.push(b']');
    }
    messages
}

impl Message {
    fn start((source, event_type): (&str, &str), encoded: &str) -> Self {
        let mut body = Vec::with_capacity(encoded.len() + 2);
        body.push(b'[');
        body.extend_from_slice(encoded.as_bytes());
        Self {
            routing_key: short(&format!("{source}.{event_type}")),
            event_type: short(event_type),
            body,
            events: 1,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.events < MESSAGE_EVENTS && self.body.len() + bytes + 2 <= MESSAGE_BYTES
    }

    fn push(&mut self, encoded: &str) {
        self.body.push(b',');
        self.body.extend_from_slice(encoded.as_bytes());
        self.events += 1;
    }

    /// What travels beside the body.
    pub(crate) fn properties(&self, now: Timestamp, traceparent: &str) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
        BasicProperties::default()
            .with_content_type("application/cloudevents-batch+json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message_id(now).as_str().into())
            .with_type(self.event_type.clone())
            .with_timestamp(u64::try_from(now.as_seconds()).unwrap_or(0))
            .with_app_id("treehook".into())
            .with_headers(headers)
    }
}

/// Cut to what AMQP can carry, between characters.
fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(LONGEST_SHORT)])
}

fn message_id(now: Timestamp) -> String {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos)).to_string()
}

/// A W3C trace context, so that whoever consumes can tie the messages of one publish together. Not
/// sampled: nobody records spans here.
pub(crate) fn traceparent() -> String {
    // All zeros is the one value that is not an id.
    let trace = rand::random::<u128>().max(1);
    let span = rand::random::<u64>().max(1);
    format!("00-{trace:032x}-{span:016x}-00")
}

#[cfg(test)]
mod tests {
    use treehook_event::{Body, EventType, Identity, SourceName, decode_batch, encode_batch};

    use super::*;

    fn event(id: usize, event_type: &str, payload_bytes: usize) -> Event {
        Event {
            source: SourceName::trusted("linktree"),
            identity: Identity::trusted(&format!("evt_{id}")),
            occurred_at: Timestamp::from_seconds(1_700_000_000),
            received_at: Timestamp::from_seconds(1_700_000_001),
            entry: None,
            body: Body::Unknown { event_type: EventType::trusted(event_type) },
            payload: format!("\"{}\"", "x".repeat(payload_bytes)).into(),
        }
    }

    #[test]
    fn mixed_events_become_one_message_for_each_key_in_order() {
        let events = [event(1, "a", 1), event(2, "b", 1), event(3, "a", 1)];
        let messages = pack(&events);
        let keys: Vec<&str> = messages.iter().map(|m| m.routing_key.as_str()).collect();
        assert_eq!(keys, ["linktree.a", "linktree.b"]);
        assert_eq!(messages[0].body, encode_batch(&[events[0].clone(), events[2].clone()]));
        assert_eq!(messages[1].body, encode_batch(&events[1..2]));
    }

    #[test]
    fn no_message_outgrows_its_limits() {
        let many: Vec<Event> = (0..250).map(|id| event(id, "a", 1)).collect();
        let counts: Vec<usize> = pack(&many).iter().map(|message| message.events).collect();
        assert_eq!(counts, [100, 100, 50]);

        let large: Vec<Event> = (0..5).map(|id| event(id, "a", 50_000)).collect();
        let messages = pack(&large);
        assert_eq!(messages.iter().map(|m| m.events).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(messages.iter().all(|message| message.body.len() <= MESSAGE_BYTES));

        let back: Vec<Event> =
            messages.iter().flat_map(|message| decode_batch(&message.body).unwrap()).collect();
        assert_eq!(back, large);
    }

    #[test]
    fn an_event_that_alone_outgrows_the_limit_travels_alone() {
        let events = [event(1, "a", 10), event(2, "a", MESSAGE_BYTES + 1), event(3, "a", 10)];
        let counts: Vec<usize> = pack(&events).iter().map(|message| message.events).collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn a_long_type_is_cut_between_characters() {
        let message = &pack(&[event(1, &"é".repeat(300), 1)])[0];
        assert!(message.routing_key.as_str().len() <= 255);
        assert!(message.event_type.as_str().len() <= 255);
    }

    #[test]
    fn a_message_says_what_it_is() {
        let message = &pack(&[event(1, "a", 1)])[0];
        let trace = traceparent();
        let properties = message.properties(Timestamp::from_millis(1_700_000_000_123), &trace);
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.timestamp(), &Some(1_700_000_000));
        let id = properties.message_id().as_ref().unwrap().as_str();
        assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
        let parts: Vec<usize> = trace.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2]);
    }
}
