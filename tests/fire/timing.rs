//! Whether the time that a refusal takes tells how much of a guessed signature is right.

use std::time::Instant;

use rand::RngExt as _;
use treehook_event::{
    Claim, Found, KeyEncoding, Scheme, SigningKey, Source, SourceName, Timestamp, sign, verify,
};

/// Refusals of each kind.
const SAMPLES: usize = 400_000;
/// One in so many samples is left out at either end: interrupts, mostly.
const TRIMMED: usize = 10;
/// What a comparison that stops at the first difference would give away over 31 bytes, and more.
const VISIBLE_NANOS: f64 = 100.0;

#[test]
#[ignore = "measures nanoseconds, on a quiet machine: make fire-timing"]
fn the_time_of_a_refusal_does_not_tell_how_many_bytes_are_right() {
    let key = SigningKey::decode("a-secret-for-tests", KeyEncoding::Utf8).unwrap();
    let scheme = Scheme::linktree();
    let now = Timestamp::from_seconds(1_795_000_000);
    let body = vec![b'x'; 500];
    let headers = sign(&scheme, &key, "", now, &body);
    let source = Source {
        name: SourceName::new("linktree").unwrap(),
        scheme,
        keys: vec![key],
        tolerance_seconds: 300,
    };
    let guesses = [0, 31, 0].map(|right| guess(&headers, &source.scheme, right));
    let claims = guesses.each_ref().map(|headers| read(headers, &source.scheme));
    let mut nanos = [const { Vec::new() }; 3];
    let mut rng = rand::rng();
    for _ in 0..SAMPLES * claims.len() {
        // In no order: what slows the machine down slows all kinds alike.
        let kind = rng.random_range(0..claims.len());
        let started = Instant::now();
        let refused = verify(&source, &claims[kind], &body, now).is_err();
        let took = started.elapsed();
        assert!(refused);
        nanos[kind].push(f64::from(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)));
    }
    let [none, most, again] = nanos.map(trimmed_mean);
    for (what, (mean, error)) in [("31 bytes right", most), ("none right, again", again)] {
        println!(
            "none right: {:.1} ns; {what}: {:+.2} ns, standard error {:.2} ns",
            none.0,
            mean - none.0,
            error.hypot(none.1)
        );
    }
    let (difference, error) = (most.0 - none.0, most.1.hypot(none.1));
    assert!(error * 5.0 < VISIBLE_NANOS, "too noisy to tell");
    assert!(difference.abs() < VISIBLE_NANOS - error * 5.0, "the refusal tells");
}

/// The headers of a delivery whose signature has this many leading bytes right, and the rest wrong.
fn guess(headers: &[(String, String)], scheme: &Scheme, right: usize) -> Vec<(String, String)> {
    let is_signature = |name: &str| name.eq_ignore_ascii_case(&scheme.signature_header);
    let wrong = |signature: &str| {
        let mut bytes = hex::decode(signature).unwrap();
        bytes[right..].iter_mut().for_each(|byte| *byte ^= 0xff);
        hex::encode(bytes)
    };
    headers
        .iter()
        .map(|(name, value)| {
            let value = if is_signature(name) { wrong(value) } else { value.clone() };
            (name.clone(), value)
        })
        .collect()
}

fn read<'a>(headers: &'a [(String, String)], scheme: &Scheme) -> Claim<'a> {
    let find = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map_or(Found::Absent, |(_, value)| Found::Once(value.as_bytes()))
    };
    Claim::read(scheme, find).unwrap()
}

/// The mean of what is left between the extremes, and its standard error.
#[expect(clippy::cast_precision_loss, reason = "there are far fewer samples than 2^52")]
fn trimmed_mean(mut nanos: Vec<f64>) -> (f64, f64) {
    nanos.sort_unstable_by(f64::total_cmp);
    let cut = nanos.len() / TRIMMED;
    let kept = &nanos[cut..nanos.len() - cut];
    let count = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / count;
    let variance = kept.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}
