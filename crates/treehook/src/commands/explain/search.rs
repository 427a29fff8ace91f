//! The search for what was signed: one thing changed, then two, until a signature holds.

use treehook_event::{
    Claim, Encoding, Found, KeyEncoding, Part, Platform, Scheme, Source, SourceName, Timestamp,
    TimestampPlace, verify,
};

use super::bodies::Body;
use super::format::Mac;
use super::keys::Key;
use super::templates::Template;

/// Bodies up to this long are tried with two things changed at once: thousands of hashes.
const LONG: usize = 1 << 20;

/// What is tried. The first template and the first body are those of the request as it is.
pub(super) struct Search<'a> {
    pub(super) macs: &'a [Mac],
    pub(super) templates: &'a [Template],
    pub(super) bodies: &'a [Body],
    /// The source's own keys.
    pub(super) right: &'a [Key],
    /// All the others.
    pub(super) further: &'a [Key],
}

/// What was signed, and with which key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit<'a> {
    /// None when it is the configured one.
    pub(super) template: Option<&'a Template>,
    /// None when it is as it arrived.
    pub(super) body: Option<&'a Body>,
    pub(super) key: &'a Key,
}

impl<'a> Search<'a> {
    /// The simplest explanation that there is. A signature that holds cannot hold by chance.
    pub(super) fn run(&self) -> Option<Hit<'a>> {
        let (as_configured, templates) = self.templates.split_at(1);
        let (as_arrived, bodies) = self.bodies.split_at(1);
        let (right, further) = (self.right, self.further);
        self.any(as_configured, as_arrived, right)
            .or_else(|| self.any(as_configured, as_arrived, further))
            .or_else(|| self.any(templates, as_arrived, right))
            .or_else(|| self.any(as_configured, bodies, right))
            .or_else(|| {
                if self.bodies[0].bytes.len() > LONG {
                    return None;
                }
                self.any(templates, bodies, right)
                    .or_else(|| self.any(templates, as_arrived, further))
                    .or_else(|| self.any(as_configured, bodies, further))
            })
    }

    fn any(
        &self,
        templates: &'a [Template],
        bodies: &'a [Body],
        keys: &'a [Key],
    ) -> Option<Hit<'a>> {
        if keys.is_empty() {
            return None;
        }
        let signatures = self.macs.join(",");
        templates.iter().find_map(|template| {
            let source = source(&template.parts, keys);
            bodies.iter().find_map(|body| {
                let position = matching(&source, &signatures, &body.bytes)?;
                let is_configured = std::ptr::eq(template, &raw const self.templates[0]);
                let is_arrived = std::ptr::eq(body, &raw const self.bodies[0]);
                Some(Hit {
                    template: (!is_configured).then_some(template),
                    body: (!is_arrived).then_some(body),
                    key: &keys[position],
                })
            })
        })
    }
}

/// A sender that signs these parts and writes bare hex: the format was dealt with before.
fn source(parts: &[Part], keys: &[Key]) -> Source {
    let scheme = Scheme {
        signature_header: "signature".to_owned(),
        timestamp: TimestampPlace::Nowhere,
        id_header: None,
        encoding: Encoding::Hex,
        prefix: String::new(),
        separator: Some(','),
        template: parts.to_vec(),
        key_encoding: KeyEncoding::Utf8,
        platform: Platform::Linktree,
    };
    Source {
        name: SourceName::trusted("tried"),
        scheme,
        keys: keys.iter().map(|key| key.signing.clone()).collect(),
        tolerance_seconds: u64::MAX,
    }
}

fn matching(source: &Source, signatures: &str, body: &[u8]) -> Option<usize> {
    let claim = Claim::read(&source.scheme, |_| Found::Once(signatures.as_bytes())).ok()?;
    // No timestamp is in it, so no clock is asked.
    verify(source, &claim, body, Timestamp::default()).ok().map(|verified| verified.secret())
}
