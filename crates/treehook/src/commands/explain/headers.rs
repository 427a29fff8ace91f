//! The headers that a scheme needs: which are missing or repeated, and where a signature is instead.

use treehook_event::{Found, Scheme, TimestampPlace};

use super::capture::Capture;
use super::reason::{Reason, quoted};

/// Headers that are not there, or there more than once.
pub(super) fn faults(scheme: &Scheme, capture: &Capture) -> Vec<Reason> {
    let timestamp = match &scheme.timestamp {
        TimestampPlace::Header(name) => Some(name),
        TimestampPlace::Nowhere | TimestampPlace::SignatureElement(_) => None,
    };
    let names = [Some(&scheme.signature_header), timestamp, scheme.id_header.as_ref()];
    let mut reasons = Vec::new();
    for name in names.into_iter().flatten() {
        match capture.find(name) {
            Found::Once(_) => (),
            Found::Absent => reasons.push(Reason::new(
                "header_missing",
                format!("the header `{name}` is missing{}", similar(scheme, capture)),
                "let whatever stands in front pass it on, or set the header's name for this source",
            )),
            Found::Repeated => reasons.push(Reason::new(
                "header_repeated",
                format!("the header `{name}` is there more than once"),
                "find out which hop adds one: it must be there once",
            )),
        }
    }
    reasons
}

/// Other headers that could hold a signature.
fn similar(scheme: &Scheme, capture: &Capture) -> String {
    let names: Vec<String> = capture
        .named(|name| name != scheme.signature_header && is_signature(name))
        .map(|(name, _)| quoted(name))
        .take(3)
        .collect();
    if names.is_empty() { String::new() } else { format!("; {} is there", names.join(", ")) }
}

fn is_signature(name: &str) -> bool {
    name.contains("signature") || name.contains("hmac")
}

/// The signature headers: the scheme's own, else any that could be one.
pub(super) fn signatures<'a>(scheme: &'a Scheme, capture: &'a Capture) -> Vec<&'a [u8]> {
    let own: Vec<&[u8]> = capture.values(&scheme.signature_header).collect();
    if own.is_empty() {
        return capture.named(is_signature).map(|(_, value)| value).collect();
    }
    own
}
