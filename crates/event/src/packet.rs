//! Events as they travel together: a message on the broker, a row in the outbox.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::cloudevents::{Undecodable, encode_into};
use crate::compression::Compression;
use crate::event::Event;

/// Largest body that is grown by one more event, in bytes: a quorum queue copies a message to every
/// node, and a worker holds prefetch times as much (256 of these are 32 MiB).
const PACKET_BYTES: usize = 128 << 10;
/// Most events in a packet: from here on it is no longer the messages that a worker's time goes to.
const PACKET_EVENTS: usize = 100;
/// Events from which on a compressed packet is not unfolded to be joined with others: there are few enough messages by then.
const ENOUGH_EVENTS: usize = PACKET_EVENTS / 4;

/// One to 100 encoded events of one source and type, which can be passed on unopened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// `{source}.{type}`: sources have no dot in their name.
    pub routing_key: Box<str>,
    /// How many events it holds.
    pub events: usize,
    /// They, as [`encode_batch`](crate::encode_batch) writes them, and compressed.
    pub body: Vec<u8>,
    /// How the body is compressed.
    pub compression: Compression,
}

impl Packet {
    /// Groups events by source and type, in order within each.
    pub fn pack(events: &[Event]) -> Vec<Self> {
        let mut stack = Stack::default();
        let mut encoded = Vec::with_capacity(1024);
        let mut routing_key = String::with_capacity(64);
        for event in events {
            encoded.clear();
            encode_into(&mut encoded, event);
            routing_key.clear();
            routing_key.push_str(event.source.as_str());
            routing_key.push('.');
            routing_key.push_str(event.event_type());
            stack.put(&routing_key, 1, &encoded);
        }
        stack.finish()
    }

    /// Puts what is of one source and type together, in order within each, in the given compression. Where that is
    /// the packet's own, and it holds enough, nobody unfolds it.
    pub fn join(packets: &[Self], compression: Compression) -> Vec<Self> {
        let mut stack = Stack::default();
        for packet in packets {
            let is_done = packet.compression == compression && packet.events >= ENOUGH_EVENTS;
            if compression != Compression::None && is_done {
                stack.close(&packet.routing_key);
                stack.packets.push(packet.clone());
                continue;
            }
            match packet.opened().as_deref() {
                Ok([b'[', encoded @ .., b']']) if !encoded.is_empty() => {
                    stack.put(&packet.routing_key, packet.events, encoded);
                }
                // Nothing of ours; it travels as it is.
                Ok(_) | Err(_) => stack.packets.push(packet.clone()),
            }
        }
        let joined = stack.finish();
        joined.into_iter().map(|packet| packet.compressed(compression)).collect()
    }

    /// The same, compressed so where that is worth it and it is not yet.
    #[must_use]
    pub fn compressed(self, compression: Compression) -> Self {
        match (self.compression, compression) {
            (Compression::None, Compression::Lz4) => {
                let (compression, body) = Compression::of(self.body);
                Self { body, compression, ..self }
            }
            (_, Compression::None) | (Compression::Lz4, Compression::Lz4) => self,
        }
    }

    /// The batch, as [`encode_batch`](crate::encode_batch) writes it.
    pub fn opened(&self) -> Result<Cow<'_, [u8]>, Undecodable> {
        self.compression.open(&self.body)
    }

    /// The canonical type of its events, or the platform's own.
    pub fn event_type(&self) -> &str {
        self.routing_key.split_once('.').map_or("", |(_, event_type)| event_type)
    }

    fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.events + events <= PACKET_EVENTS && self.body.len() + bytes + 2 <= PACKET_BYTES
    }
}

/// Packets under way: those that have room are not closed yet.
#[derive(Default)]
struct Stack {
    packets: Vec<Packet>,
    /// The packet of each routing key that still takes more.
    open: HashMap<Box<str>, usize>,
}

impl Stack {
    /// Adds encoded events, with commas between them.
    fn put(&mut self, routing_key: &str, events: usize, encoded: &[u8]) {
        if let Some(packet) = self.open.get(routing_key).map(|&at| &mut self.packets[at]) {
            if packet.has_room(events, encoded.len()) {
                // By three times what it is: it is copied less often, and its pages are fresh once.
                let length = packet.body.len();
                if packet.body.capacity() - length < encoded.len() + 2 {
                    let room = (3 * length).min(PACKET_BYTES - length);
                    packet.body.reserve_exact(room.max(encoded.len() + 2));
                }
                packet.body.push(b',');
                packet.body.extend_from_slice(encoded);
                packet.events += events;
                return;
            }
            packet.body.push(b']');
        }
        let mut body = Vec::with_capacity(encoded.len() + 2);
        body.push(b'[');
        body.extend_from_slice(encoded);
        self.open.insert(routing_key.into(), self.packets.len());
        self.packets.push(Packet {
            routing_key: routing_key.into(),
            events,
            body,
            compression: Compression::None,
        });
    }

    /// What comes next of this key comes after what is already there.
    fn close(&mut self, routing_key: &str) {
        if let Some(at) = self.open.remove(routing_key) {
            self.packets[at].body.push(b']');
        }
    }

    fn finish(mut self) -> Vec<Packet> {
        for at in self.open.into_values() {
            self.packets[at].body.push(b']');
        }
        self.packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, EventType, Identity, SourceName, Timestamp, decode_batch, encode_batch};

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

    fn counts(packets: &[Packet]) -> Vec<usize> {
        packets.iter().map(|packet| packet.events).collect()
    }

    fn opened(packets: &[Packet]) -> Vec<Event> {
        packets
            .iter()
            .flat_map(|packet| decode_batch(&packet.opened().expect("ours")).expect("a batch"))
            .collect()
    }

    #[test]
    fn mixed_events_become_one_packet_for_each_key_in_order() {
        let events = [event(1, "a", 1), event(2, "b.c", 1), event(3, "a", 1)];
        let packets = Packet::pack(&events);
        let keys: Vec<&str> = packets.iter().map(|packet| &*packet.routing_key).collect();
        assert_eq!(keys, ["linktree.a", "linktree.b.c"]);
        assert_eq!(packets[1].event_type(), "b.c");
        assert_eq!(packets[0].body, encode_batch(&[events[0].clone(), events[2].clone()]));
        assert_eq!(packets[1].body, encode_batch(&events[1..2]));
    }

    #[test]
    fn no_packet_outgrows_its_limits() {
        let many: Vec<Event> = (0..250).map(|id| event(id, "a", 1)).collect();
        assert_eq!(counts(&Packet::pack(&many)), [100, 100, 50]);

        let large: Vec<Event> = (0..5).map(|id| event(id, "a", 50_000)).collect();
        let packets = Packet::pack(&large);
        assert_eq!(counts(&packets), [2, 2, 1]);
        assert!(packets.iter().all(|packet| packet.body.len() <= PACKET_BYTES));
        assert_eq!(opened(&packets), large);
    }

    #[test]
    fn an_event_that_alone_outgrows_the_limit_travels_alone() {
        let events = [event(1, "a", 10), event(2, "a", PACKET_BYTES + 1), event(3, "a", 10)];
        assert_eq!(counts(&Packet::pack(&events)), [1, 1, 1]);
    }

    #[test]
    fn small_packets_are_joined_unopened_and_full_ones_stay() {
        let each: Vec<Event> = (0..130).map(|id| event(id, ["a", "b"][id % 2], 1)).collect();
        let small: Vec<Packet> = each.chunks(3).flat_map(Packet::pack).collect();
        let joined = Packet::join(&small, Compression::None);
        assert_eq!(counts(&joined), [65, 65]);
        assert_eq!(joined, Packet::pack(&each));
        assert_eq!(Packet::join(&joined, Compression::None), joined);

        let large: Vec<Event> = (0..5).map(|id| event(id, "a", 50_000)).collect();
        let alone: Vec<Packet> = large.chunks(1).flat_map(Packet::pack).collect();
        let joined = Packet::join(&alone, Compression::None);
        assert_eq!(counts(&joined), [2, 2, 1]);
        assert_eq!(opened(&joined), large);
    }

    #[test]
    fn compressed_packets_are_joined_while_they_are_small_and_hold_the_same_events() {
        let each: Vec<Event> = (0..130).map(|id| event(id, "a", 100)).collect();
        let folded = |size: usize| -> Vec<Packet> {
            let packets = each.chunks(size).flat_map(Packet::pack);
            packets.map(|packet| packet.compressed(Compression::Lz4)).collect()
        };
        for (size, compression, joined_counts) in [
            (10, Compression::Lz4, vec![100, 30]),
            (10, Compression::None, vec![100, 30]),
            (65, Compression::Lz4, vec![65, 65]),
            (65, Compression::None, vec![65, 65]),
        ] {
            let packets = folded(size);
            assert!(packets.iter().all(|packet| packet.compression == Compression::Lz4));
            let joined = Packet::join(&packets, compression);
            assert_eq!(counts(&joined), joined_counts, "of {size}");
            assert!(joined.iter().all(|packet| packet.compression == compression));
            assert_eq!(opened(&joined), each);
        }
    }

    #[test]
    fn what_comes_after_a_full_packet_is_not_joined_to_what_came_before_it() {
        let each: Vec<Event> = (0..80).map(|id| event(id, "a", 100)).collect();
        let packets = [&each[..10], &each[10..20], &each[20..70], &each[70..]].map(Packet::pack);
        let packets: Vec<Packet> = packets
            .concat()
            .into_iter()
            .map(|packet| packet.compressed(Compression::Lz4))
            .collect();
        let joined = Packet::join(&packets, Compression::Lz4);
        assert_eq!(counts(&joined), [20, 50, 10]);
        assert_eq!(opened(&joined), each);
    }

    #[test]
    fn what_is_no_batch_is_passed_on_as_it_is() {
        let strange = |body: &[u8], compression| Packet {
            routing_key: "a.b".into(),
            events: 1,
            body: body.into(),
            compression,
        };
        let [none, lz4] = [Compression::None, Compression::Lz4];
        let packets =
            [strange(b"{}", none), strange(b"[]", none), strange(b"", none), strange(b"x", lz4)];
        assert_eq!(Packet::join(&packets, none), packets);
        assert_eq!(Packet::join(&packets, lz4), packets);
    }
}
