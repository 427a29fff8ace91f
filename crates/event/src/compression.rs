//! Batches in fewer bytes: an LZ4 frame, as any LZ4 tool reads it. Events of one batch are alike, and take about a fifth.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

use crate::cloudevents::{Undecodable, decode_batch, decode_shared};
use crate::event::Event;
use crate::moment::Timestamp;

/// A batch below this is left as it is, in bytes: it fits in a page of a database, and in a packet of a network.
const WORTH_IT: usize = 2 << 10;
/// The largest batch that is compressed, in bytes, and so the most that a frame of ours unfolds to.
const LARGEST: usize = 64 << 20;

/// How the bytes of a batch are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// As an LZ4 frame.
    Lz4,
}

impl Compression {
    /// What says so beside the bytes: in a row of the outbox, or as a message's content encoding.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Lz4 => Some("lz4"),
        }
    }

    /// What [`name`](Self::name) gave. Bytes of any other name are taken as they are: clients of AMQP write `utf-8`, and
    /// what is compressed in another way is found to be no batch.
    pub fn named(name: Option<&str>) -> Self {
        if name == Self::Lz4.name() { Self::Lz4 } else { Self::None }
    }

    /// The batch, where that saves a quarter at least: with how it is written then.
    pub fn of(batch: Vec<u8>) -> (Self, Vec<u8>) {
        match compress(&batch) {
            Some(frame) => (Self::Lz4, frame),
            None => (Self::None, batch),
        }
    }

    /// The batch that these bytes are. An error for bytes that are no whole frame, and for a frame of more than 64 MiB.
    pub fn open(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Undecodable> {
        match self {
            Self::None => Ok(Cow::Borrowed(bytes)),
            Self::Lz4 => decompress(bytes).map(Cow::Owned),
        }
    }

    /// The events of that batch, as [`decode_batch`] reads them. Payloads stay parts of these bytes, but for what had to be
    /// unfolded: that took more room than it holds.
    pub fn decode(self, bytes: impl Into<Bytes>) -> Result<Vec<Event>, Undecodable> {
        match self {
            Self::None => decode_shared(bytes.into()),
            Self::Lz4 => decode_batch(&decompress(&bytes.into())?),
        }
    }

    /// As [`decode`](Self::decode), where something is to be handed out in any case: what cannot be read, and an empty
    /// batch too, becomes one event of that time that says so.
    pub fn decode_any(self, bytes: impl Into<Bytes>, at: Timestamp) -> Vec<Event> {
        let bytes = bytes.into();
        match self.decode(bytes.clone()) {
            Ok(events) if !events.is_empty() => events,
            Ok(_) => vec![Event::unreadable(&bytes, "an empty batch", at)],
            Err(why) => vec![Event::unreadable(&bytes, &why.0, at)],
        }
    }
}

fn compress(batch: &[u8]) -> Option<Vec<u8>> {
    if !(WORTH_IT..=LARGEST).contains(&batch.len()) {
        return None;
    }
    let info = FrameInfo::new().content_size(Some(batch.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(batch.len() / 4));
    encoder.write_all(batch).expect("writing to memory cannot fail");
    let frame = encoder.finish().expect("writing to memory cannot fail");
    (frame.len() < batch.len() / 4 * 3).then_some(frame)
}

fn decompress(frame: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut batch = Vec::with_capacity(frame.len().saturating_mul(6).min(LARGEST));
    let read = FrameDecoder::new(frame).take(LARGEST as u64 + 1).read_to_end(&mut batch);
    match read {
        Ok(bytes) if bytes <= LARGEST => Ok(batch),
        Ok(_) => Err(Undecodable(format!("an LZ4 frame of more than {LARGEST} bytes"))),
        Err(error) => Err(Undecodable(format!("no LZ4 frame: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_and_what_is_damaged_panics_nowhere(
            part in proptest::collection::vec(any::<u8>(), 1..200),
            times in 1_usize..2000,
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let batch = part.repeat(times);
            let (compression, mut bytes) = Compression::of(batch.clone());
            let opened = compression.open(&bytes).map(Cow::into_owned);
            prop_assert_eq!(opened, Ok(batch.clone()));
            prop_assert_eq!(Compression::named(compression.name()), compression);
            if compression == Compression::Lz4 {
                prop_assert!(bytes.len() < batch.len());
                prop_assert!(compression.open(&bytes[..bytes.len() - 5]).is_err(), "cut off");
                let at = at.index(bytes.len());
                bytes[at] = to;
                drop(compression.open(&bytes));
            }
        }
    }

    #[test]
    fn an_unreadable_or_empty_batch_becomes_one_event_that_says_so() {
        for (bytes, encoding) in [
            (&b"not json"[..], None),
            (b"[]", None),
            (b"{}", None),
            (b"\xff\xfe", None),
            (b"[]", Some("lz4")),
            (b"[]", Some("utf-8")),
        ] {
            let at = Timestamp::from_seconds(7);
            let events = Compression::named(encoding).decode_any(bytes, at);
            assert_eq!(events.len(), 1);
            assert_eq!((events[0].type_label(), events[0].received_at), ("unfit", at));
        }
    }

    #[test]
    fn what_would_not_get_smaller_is_left_as_it_is() {
        let how = |batch: Vec<u8>| Compression::of(batch).0;
        assert_eq!(how(vec![b'x'; WORTH_IT - 1]), Compression::None);
        assert_eq!(how(vec![b'x'; WORTH_IT]), Compression::Lz4);
        assert_eq!(how(vec![b'x'; LARGEST + 1]), Compression::None);
        let mut noise = 1_u64;
        let random = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        });
        assert_eq!(how(random.take(WORTH_IT * 4).collect()), Compression::None);
    }

    #[test]
    fn a_frame_that_unfolds_to_more_than_any_of_ours_is_refused() {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(&vec![b' '; LARGEST + 1]).expect("to memory");
        let frame = encoder.finish().expect("to memory");
        assert!(Compression::Lz4.open(&frame).expect_err("too much").0.contains("more than"));
        assert!(Compression::Lz4.open(b"[]").is_err());
        assert_eq!(Compression::named(Some("utf-8")), Compression::None);
    }
}
