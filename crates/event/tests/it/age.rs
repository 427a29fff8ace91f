//! How old a signature and an unsigned envelope may be.

use treehook_event::{
    Claim, Rejection, Scheme, SigningKey, Source, Timestamp, parse, sign, verify,
};

use crate::setup::{context, events, find, now, signed_at, source};

const BODY: &[u8] = b"{}";

fn belief_at(source: &Source, signed: Timestamp, now: Timestamp) -> Result<(), Rejection> {
    let headers = signed_at(source, signed, BODY);
    let claim = Claim::read(&source.scheme, |name| find(&headers, name))?;
    verify(source, &claim, BODY, now).map(|_| ())
}

#[test]
fn the_tolerance_is_inclusive_in_both_directions() {
    for scheme in [Scheme::linktree(), Scheme::standard()] {
        let mut source = source(scheme);
        for (tolerance, off, fits) in [
            (300, 0, true),
            (300, -300, true),
            (300, 300, true),
            (300, -301, false),
            (300, 301, false),
            (0, 0, true),
            (0, 1, false),
            (86_400, -86_400, true),
            (u64::MAX, -1_764_000_000, true),
        ] {
            source.tolerance_seconds = tolerance;
            let signed = now().plus_millis(off * 1000);
            let expected = if fits { Ok(()) } else { Err(Rejection::StaleTimestamp) };
            assert_eq!(belief_at(&source, signed, now()), expected, "{tolerance} {off}");
        }
    }
}

#[test]
fn a_clock_in_milliseconds_agrees_with_a_header_in_seconds() {
    let source = source(Scheme::linktree());
    for (millis, fits) in [(300_999, true), (301_000, false), (-300_000, true), (-300_001, false)] {
        let belief = belief_at(&source, now(), now().plus_millis(millis));
        assert_eq!(belief.is_ok(), fits, "{millis}");
    }
}

/// A header in milliseconds: 13 digits, signed as they stand.
#[test]
fn thirteen_digits_are_milliseconds() {
    let source = source(Scheme::linktree());
    for (header, fits) in [
        ("1764000000000", true),
        ("1763999700000", true),
        ("1763999699999", false),
        ("1764000300999", true),
        ("1764000301000", false),
        ("0001764000000", true),
        ("176400000000", false),
        ("17640000000000", false),
    ] {
        let headers = sign_over(&source.keys[0], header);
        let claim = Claim::read(&source.scheme, |name| find(&headers, name)).unwrap();
        let belief = verify(&source, &claim, BODY, now());
        let expected = if fits { None } else { Some(Rejection::StaleTimestamp) };
        assert_eq!(belief.err(), expected, "{header}");
    }
}

/// Linktree's headers over a timestamp of any form: what a `{id}.{body}` scheme signs.
fn sign_over(key: &SigningKey, timestamp: &str) -> crate::setup::Headers {
    let mut scheme = Scheme::linktree();
    scheme.id_header = Some("x-linktree-timestamp".into());
    scheme.timestamp = treehook_event::TimestampPlace::Nowhere;
    scheme.template = Scheme::parse_template("{id}.{body}").expect("a template");
    let headers = sign(&scheme, key, timestamp, now(), BODY);
    headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

/// Dub signs no timestamp: an envelope older than what dedupe remembers could be a replay.
#[test]
fn an_unsigned_envelope_is_as_young_as_the_dedupe_window() {
    let dub = source(Scheme::dub());
    let mut context = context();
    context.dedupe_window_ms = 3_600_000;
    for (created_at, fits) in [
        ("2025-11-24T15:00:00Z", true),
        ("2025-11-24T14:59:59.999Z", false),
        ("2025-11-24T18:00:00+03:00", true),
        ("2025-11-24T17:00:00Z", true),
    ] {
        let body = format!(
            r#"{{"id":"e","event":"lead.created","createdAt":"{created_at}","data":{{}}}}"#
        );
        let headers = signed_at(&dub, now(), body.as_bytes());
        let claim = Claim::read(&dub.scheme, |name| find(&headers, name)).unwrap();
        let verified = verify(&dub, &claim, body.as_bytes(), now()).unwrap();
        let parsed = parse(&verified, &dub, &context, now());
        let expected = if fits { None } else { Some(Rejection::StaleTimestamp) };
        assert_eq!(parsed.err(), expected, "{created_at}");
    }
    // A signed timestamp speaks for the delivery: old envelopes inside it are just old events.
    let linktree = source(Scheme::linktree());
    let old = r#"{"type":"x","timestamp":"2001-01-01T00:00:00Z","data":{}}"#;
    assert!(events(&linktree, old).is_ok());
}

#[test]
fn an_event_too_new_or_too_old_is_unfit_and_alone_so() {
    const RETENTION_MS: i64 = 400 * 24 * 3_600_000;
    let linktree = source(Scheme::linktree());
    for (off_ms, reason) in [
        (0, None),
        (3_600_000, None),
        (3_600_001, Some("future_timestamp")),
        (-RETENTION_MS, None),
        (-RETENTION_MS - 1, Some("expired")),
    ] {
        let at = now().plus_millis(off_ms).to_rfc3339();
        let body = format!(r#"{{"type":"x","timestamp":"{at}","data":{{}}}}"#);
        let event = crate::setup::event(&linktree, body);
        assert_eq!(event.unfit(now(), RETENTION_MS), reason, "{off_ms}");
    }
}
