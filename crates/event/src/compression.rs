//! Batches in fewer bytes: an LZ4 frame, as any LZ4 tool reads it. Events of one batch are alike, and take about a fifth.

use std::io::{Read as _, Write as _};

use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

use crate::cloudevents::Undecodable;

/// What says that bytes are such a frame: of a row in the outbox, or as a message's content encoding.
pub const LZ4: &str = "lz4";

/// A batch below this is left as it is, in bytes: it fits in a page of a database, and in a packet of a network.
const WORTH_IT: usize = 2 << 10;
/// The largest batch that is compressed, in bytes, and so the most that a frame of ours unfolds to.
const LARGEST: usize = 64 << 20;

/// A frame, where that saves a quarter at least.
pub fn compress(batch: &[u8]) -> Option<Vec<u8>> {
    if !(WORTH_IT..=LARGEST).contains(&batch.len()) {
        return None;
    }
    let info = FrameInfo::new().content_size(Some(batch.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(batch.len() / 4));
    encoder.write_all(batch).expect("writing to memory cannot fail");
    let frame = encoder.finish().expect("writing to memory cannot fail");
    (frame.len() < batch.len() / 4 * 3).then_some(frame)
}

/// What [`compress`] was given. An error for bytes that are no whole frame, and for one of more than 64 MiB.
pub fn decompress(frame: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut batch = Vec::with_capacity((frame.len() * 6).min(LARGEST));
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
        fn what_was_compressed_comes_back_and_nothing_else_panics(
            part in proptest::collection::vec(any::<u8>(), 1..200),
            times in 1_usize..2000,
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let batch = part.repeat(times);
            if let Some(mut frame) = compress(&batch) {
                prop_assert!(frame.len() < batch.len());
                prop_assert_eq!(decompress(&frame), Ok(batch));
                prop_assert!(decompress(&frame[..frame.len() - 5]).is_err(), "cut off");
                let at = at.index(frame.len());
                frame[at] = to;
                drop(decompress(&frame));
            }
        }
    }

    #[test]
    fn what_would_not_get_smaller_is_left_as_it_is() {
        assert_eq!(compress(&[b'x'; WORTH_IT - 1]), None);
        assert!(compress(&[b'x'; WORTH_IT]).is_some());
        let mut noise = 1_u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        })
        .take(WORTH_IT * 4)
        .collect();
        assert_eq!(compress(&random), None);
    }

    #[test]
    fn a_frame_that_unfolds_to_more_than_any_of_ours_is_refused() {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(&vec![b' '; LARGEST + 1]).expect("to memory");
        let frame = encoder.finish().expect("to memory");
        assert!(decompress(&frame).expect_err("too much").0.contains("more than"));
    }
}
