//! Whatever a sender with the right key sends is refused with a short complaint, or becomes events
//! that survive the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use treehook_event::{
    Claim, DeadLetter, Event, Rejection, decode_batch, encode_batch, fold, parse, sign, verify,
};
use treehook_fuzz::{context, find, now, sources};

/// Longest complaint: our own words and one index.
const LONGEST_COMPLAINT: usize = 120;

fuzz_target!(|body: &[u8]| {
    let context = context();
    // The three platforms; spelled-out schemes send one of their envelopes.
    for source in &sources()[..3] {
        let headers: Vec<(String, Vec<u8>)> =
            sign(&source.scheme, &source.keys[0], "msg_1", now(), body)
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect();
        let claim = Claim::read(&source.scheme, |name| find(&headers, name)).expect("all there");
        let verified = verify(source, &claim, body, now()).expect("signed right");
        match parse(&verified, source, &context, now()) {
            Ok(events) => check(&events),
            Err(Rejection::MalformedPayload(what)) => {
                assert!(what.is_ascii() && what.len() <= LONGEST_COMPLAINT, "{what}");
            }
            Err(rejection) => assert_eq!(rejection, Rejection::StaleTimestamp),
        }
    }
});

fn check(events: &[Event]) {
    assert!(!events.is_empty());
    assert_eq!(decode_batch(&encode_batch(events)).as_deref(), Ok(events));
    fold(events);
    for event in events {
        assert!(!event.identity.as_str().is_empty() && event.identity.as_str().len() <= 200);
        assert!(!event.event_type().is_empty());
        let letter = DeadLetter::of(event, event.unfit(now(), 0).unwrap_or("none"), now());
        assert_eq!(decode_batch(letter.event.as_bytes()).as_deref(), Ok(&[event.clone()][..]));
    }
}
