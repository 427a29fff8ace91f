//! Sources to sign for, and the shortest way from an envelope to its events.

use treehook_event::{
    Body, Claim, Context, Event, Found, PersonalKeys, Rejection, Scheme, SigningKey, Source,
    SourceName, Timestamp, VisitorKey, parse, sign, verify,
};

pub(crate) const SECRET: &str = "a shared secret";
pub(crate) const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Headers as they came, in order.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// 2025-11-24T16:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_764_000_000)
}

/// A source with one key, the usual one of its scheme.
pub(crate) fn source(scheme: Scheme) -> Source {
    let secret = if scheme == Scheme::standard() { WHSEC } else { SECRET };
    let key = SigningKey::decode(secret, scheme.key_encoding).expect("a test's secret");
    let name = SourceName::new("test").expect("a name");
    Source { name, scheme, keys: vec![key], tolerance_seconds: 300 }
}

/// The built-in schemes.
pub(crate) fn built_in() -> [Source; 3] {
    [Scheme::linktree(), Scheme::dub(), Scheme::standard()].map(source)
}

pub(crate) fn context() -> Context {
    Context {
        visitors: VisitorKey::new(b"a visitor key for tests").expect("long enough"),
        personal: PersonalKeys::default(),
        dedupe_window_ms: 400 * 24 * 3_600_000,
    }
}

/// The headers of a delivery signed now.
pub(crate) fn signed(source: &Source, body: &[u8]) -> Headers {
    signed_at(source, now(), body)
}

pub(crate) fn signed_at(source: &Source, at: Timestamp, body: &[u8]) -> Headers {
    let headers = sign(&source.scheme, &source.keys[0], "msg_1", at, body);
    headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

/// Puts another value in the place of a header's.
pub(crate) fn replace(headers: &mut Headers, name: &str, value: impl AsRef<[u8]>) {
    let header = headers.iter_mut().find(|(given, _)| given == name).expect("it is there");
    header.1 = value.as_ref().to_vec();
}

/// Finds a header as a receiver would.
pub(crate) fn find<'a>(headers: &'a Headers, name: &str) -> Found<'a> {
    let mut values = headers.iter().filter(|(given, _)| given == name);
    match (values.next(), values.next()) {
        (None, _) => Found::Absent,
        (Some((_, value)), None) => Found::Once(value),
        (Some(_), Some(_)) => Found::Repeated,
    }
}

/// Whether a delivery is believed now, and by which key.
pub(crate) fn belief(source: &Source, headers: &Headers, body: &[u8]) -> Result<usize, Rejection> {
    let claim = Claim::read(&source.scheme, |name| find(headers, name))?;
    verify(source, &claim, body, now()).map(|verified| verified.secret())
}

/// Signs a body, believes it and parses it.
pub(crate) fn events(source: &Source, body: impl AsRef<[u8]>) -> Result<Vec<Event>, Rejection> {
    let body = body.as_ref();
    let headers = signed(source, body);
    let claim = Claim::read(&source.scheme, |name| find(&headers, name))?;
    let verified = verify(source, &claim, body, now())?;
    parse(&verified, source, &context(), now())
}

/// The one event of a good body.
pub(crate) fn event(source: &Source, body: impl AsRef<[u8]>) -> Event {
    let mut events = events(source, body).expect("a good body");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// What is said of a body that is refused.
pub(crate) fn complaint(source: &Source, body: impl AsRef<[u8]>) -> String {
    match events(source, body) {
        Err(Rejection::MalformedPayload(what)) => what,
        other => panic!("not refused as malformed: {other:?}"),
    }
}

/// The reason of an event that goes to the dead letters.
pub(crate) fn unfit_reason(event: &Event) -> &str {
    match &event.body {
        Body::Unfit { reason, .. } => reason,
        other => panic!("fit: {other:?}"),
    }
}
