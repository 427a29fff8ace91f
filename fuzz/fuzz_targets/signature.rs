//! Arbitrary headers are never believed and never panic; what is signed right is, until it changes.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use treehook_event::{Claim, Rejection, Scheme, Timestamp, TimestampPlace, sign, verify};
use treehook_fuzz::{find, now, sources};

#[derive(Arbitrary, Debug)]
struct Input {
    scheme: u8,
    signature: Vec<u8>,
    timestamp: Vec<u8>,
    id: Vec<u8>,
    repeated: u8,
    upper_case: bool,
    signed_at: i64,
    flipped: usize,
    body: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let sources = sources();
    let source = &sources[usize::from(input.scheme) % sources.len()];
    let forged = headers(&source.scheme, &input);
    match Claim::read(&source.scheme, |name| find(&forged, name)) {
        Ok(claim) => assert!(verify(source, &claim, &input.body, now()).is_err()),
        Err(rejection) => assert_eq!(rejection, Rejection::MissingSignature),
    }
    check_genuine(source, &input);
});

/// The scheme's headers with any values, one of them perhaps absent or repeated.
fn headers(scheme: &Scheme, input: &Input) -> Vec<(String, Vec<u8>)> {
    let mut headers = vec![(scheme.signature_header.clone(), input.signature.clone())];
    if let TimestampPlace::Header(name) = &scheme.timestamp {
        headers.push((name.clone(), input.timestamp.clone()));
    }
    if let Some(name) = &scheme.id_header {
        headers.push((name.clone(), input.id.clone()));
    }
    let position = usize::from(input.repeated) % 16;
    if position < headers.len() {
        headers.push(headers[position].clone());
    } else if position - headers.len() < headers.len() {
        headers.remove(position - headers.len());
    }
    headers
}

fn check_genuine(source: &treehook_event::Source, input: &Input) {
    let signed_at = Timestamp::from_seconds(input.signed_at);
    // A timestamp header holds digits alone: a moment before 1970 cannot be written.
    let fits = now().as_seconds().abs_diff(signed_at.as_seconds()) <= source.tolerance_seconds;
    let id: String = String::from_utf8_lossy(&input.id).trim().to_owned();
    let mut genuine: Vec<(String, Vec<u8>)> =
        sign(&source.scheme, &source.keys[1], &id, signed_at, &input.body)
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()))
            .collect();
    if input.upper_case && source.scheme == Scheme::linktree() {
        genuine.iter_mut().for_each(|(_, value)| value.make_ascii_uppercase());
    }
    let claim = Claim::read(&source.scheme, |name| find(&genuine, name)).expect("all there");
    let unsigned_time = source.scheme.timestamp == TimestampPlace::Nowhere;
    match verify(source, &claim, &input.body, now()) {
        Ok(verified) => {
            assert!(fits || unsigned_time);
            assert_eq!((verified.secret(), verified.body()), (1, &input.body[..]));
        }
        Err(rejection) => {
            assert!(!fits && !unsigned_time);
            assert_eq!(rejection, Rejection::StaleTimestamp);
        }
    }
    let mut tampered = input.body.clone();
    if tampered.is_empty() {
        tampered.push(b' ');
    } else {
        let at = input.flipped % tampered.len();
        tampered[at] ^= 1;
    }
    let belief = verify(source, &claim, &tampered, now());
    assert_eq!(belief.err(), Some(Rejection::InvalidSignature));
}
