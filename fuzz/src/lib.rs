//! The sources that the fuzz targets sign for, and a clock that stands still.

use treehook_event::{
    Context, Encoding, Found, PersonalKeys, Scheme, SigningKey, Source, SourceName, Timestamp,
    TimestampPlace, VisitorKey,
};

/// 2025-11-24T16:00:00Z.
pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_764_000_000)
}

/// The built-in schemes, and two spelled-out ones: base64 over the body alone, and a timestamp
/// inside the signature header.
pub fn sources() -> [Source; 5] {
    let mut base64 = Scheme::dub();
    base64.encoding = Encoding::Base64;
    base64.prefix = "sha256=".into();
    let mut inside = Scheme::linktree();
    inside.timestamp = TimestampPlace::SignatureElement("t=".into());
    inside.prefix = "v1=".into();
    inside.separator = Some(',');
    [Scheme::linktree(), Scheme::dub(), Scheme::standard(), base64, inside].map(|scheme| Source {
        name: SourceName::new("fuzz").expect("a name"),
        scheme,
        keys: vec![SigningKey::from_bytes(b"another key"), SigningKey::from_bytes(b"the key")],
        tolerance_seconds: 300,
    })
}

/// What parsing needs to know.
pub fn context() -> Context {
    Context {
        visitors: VisitorKey::new(b"a visitor key for fuzzing").expect("long enough"),
        personal: PersonalKeys::with(["shoe_size".to_owned()]),
        dedupe_window_ms: 400 * 24 * 3_600_000,
    }
}

/// Finds a header as a receiver would.
pub fn find<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Found<'a> {
    let mut values = headers.iter().filter(|(given, _)| given == name);
    match (values.next(), values.next()) {
        (None, _) => Found::Absent,
        (Some((_, value)), None) => Found::Once(value),
        (Some(_), Some(_)) => Found::Repeated,
    }
}
