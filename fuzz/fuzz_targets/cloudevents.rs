//! Whatever lies in a queue is refused, or can be written again as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use treehook_event::{Event, decode_batch, encode_batch, fold};
use treehook_fuzz::now;

fuzz_target!(|bytes: &[u8]| {
    let events = decode_batch(bytes)
        .unwrap_or_else(|error| vec![Event::unreadable(bytes, &error.to_string(), now())]);
    assert_eq!(decode_batch(&encode_batch(&events)).as_deref(), Ok(&events[..]));
    fold(&events);
});
