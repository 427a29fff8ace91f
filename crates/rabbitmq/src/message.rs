//! What a packet is called as a message, and what travels beside it.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use treehook_event::{Packet, Timestamp};
use uuid::{NoContext, Uuid};

/// Longest routing key and type: AMQP's short string.
const LONGEST_SHORT: usize = 255;
/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Where a packet is routed.
pub(crate) fn routing_key(packet: &Packet) -> ShortString {
    short(&packet.routing_key)
}

/// What travels beside a packet's body.
pub(crate) fn properties(packet: &Packet, now: Timestamp, traceparent: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    let properties = match packet.compression.name() {
        Some(name) => BasicProperties::default().with_content_encoding(name.into()),
        None => BasicProperties::default(),
    };
    properties
        .with_content_type("application/cloudevents-batch+json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message_id(now).as_str().into())
        .with_type(short(packet.event_type()))
        .with_timestamp(u64::try_from(now.as_seconds()).unwrap_or(0))
        .with_app_id("treehook".into())
        .with_headers(headers)
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
    use treehook_event::Compression;

    use super::*;

    fn packet(event_type: &str) -> Packet {
        let routing_key = format!("linktree.{event_type}").into();
        Packet { routing_key, events: 1, body: b"[]".to_vec(), compression: Compression::None }
    }

    #[test]
    fn a_long_type_is_cut_between_characters() {
        let packet = packet(&"é".repeat(300));
        assert!(routing_key(&packet).as_str().len() <= 255);
        let properties = properties(&packet, Timestamp::default(), &traceparent());
        assert!(properties.kind().as_ref().unwrap().as_str().len() <= 255);
    }

    #[test]
    fn a_message_says_what_it_is() {
        let trace = traceparent();
        let now = Timestamp::from_millis(1_700_000_000_123);
        let properties = properties(&packet("link.clicked"), now, &trace);
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.content_encoding(), &None);
        assert_eq!(properties.timestamp(), &Some(1_700_000_000));
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "link.clicked");
        let id = properties.message_id().as_ref().unwrap().as_str();
        assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
        let parts: Vec<usize> = trace.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2]);
    }
}
