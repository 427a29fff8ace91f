//! What a row of the queue holds, compressed where that is worth it: a fifth of the bytes for the log and the disk.

use std::borrow::Cow;

use treehook_event::{LZ4, Undecodable, compress, decompress};

/// A payload as it is stored.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) stored: Cow<'a, [u8]>,
    /// `lz4`; none is a batch as it is.
    pub(crate) encoding: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// How a batch is stored.
    pub(crate) fn of(batch: &'a [u8]) -> Self {
        match compress(batch) {
            Some(frame) => Self { stored: Cow::Owned(frame), encoding: Some(LZ4) },
            None => Self { stored: Cow::Borrowed(batch), encoding: None },
        }
    }

    /// The batch.
    pub(crate) fn batch(&self) -> Result<Cow<'_, [u8]>, Undecodable> {
        match self.encoding {
            None => Ok(Cow::Borrowed(&self.stored)),
            Some(LZ4) => decompress(&self.stored).map(Cow::Owned),
            Some(_) => Err(Undecodable("compressed in a way of another version".into())),
        }
    }
}
