//! Signature schemes as data: which headers, which bytes are signed, how the signature is written.

use crate::envelope::Platform;

/// How a signature is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Base64 with the standard alphabet.
    Base64,
}

/// How a secret becomes the HMAC key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The secret's UTF-8 bytes.
    Utf8,
    /// `whsec_` and the base64 of the key (Standard Webhooks 1.0).
    Whsec,
    /// Hexadecimal.
    Hex,
}

/// Where the signed timestamp is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimestampPlace {
    /// None is signed; freshness is the envelope's own time.
    Nowhere,
    /// In a header of its own.
    Header(String),
    /// An element of the signature header with this prefix, as in `t=1700000000,v1=...`.
    SignatureElement(String),
}

/// One piece of the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Literal(String),
    /// The timestamp, as its header spells it.
    Timestamp,
    /// The value of the id header.
    Id,
    /// The raw body.
    Body,
}

/// How one kind of sender signs. Header names are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The header that holds the signature.
    pub signature_header: String,
    /// Where the signed timestamp is.
    pub timestamp: TimestampPlace,
    /// The header that holds a signed message id.
    pub id_header: Option<String>,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What stands before each signature, as `sha256=` or `v1,`.
    pub prefix: String,
    /// What separates several signatures in one header; elements without the prefix are skipped.
    pub separator: Option<char>,
    /// The bytes that are signed.
    pub template: Vec<Part>,
    /// How the secret becomes the key.
    pub key_encoding: KeyEncoding,
    /// The envelopes that this sender sends.
    pub platform: Platform,
}

/// What is wrong with a spelled-out scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The template does not contain the body, so a signature would hold for any.
    #[error("the template must contain `{{body}}` exactly once")]
    NoBody,
    /// `{timestamp}` or `{id}` without a place to read it from, or the other way round.
    #[error("the template and the {0} setting must name each other")]
    Unmatched(&'static str),
    /// A placeholder that does not exist.
    #[error("the template holds an unknown placeholder: use {{timestamp}}, {{id}} and {{body}}")]
    UnknownPlaceholder,
    /// Not an HTTP field name (RFC 9110).
    #[error("`{0}` is not a header name")]
    BadHeader(String),
}

impl Scheme {
    /// Linktree's partner contract, as integrators describe it: Linktree publishes no reference.
    pub fn linktree() -> Self {
        Self {
            signature_header: "x-linktree-signature".into(),
            timestamp: TimestampPlace::Header("x-linktree-timestamp".into()),
            id_header: None,
            encoding: Encoding::Hex,
            prefix: String::new(),
            separator: None,
            template: vec![Part::Timestamp, Part::Literal(".".into()), Part::Body],
            key_encoding: KeyEncoding::Utf8,
            platform: Platform::Linktree,
        }
    }

    /// Dub: the body alone is signed.
    pub fn dub() -> Self {
        Self {
            signature_header: "dub-signature".into(),
            timestamp: TimestampPlace::Nowhere,
            id_header: None,
            encoding: Encoding::Hex,
            prefix: String::new(),
            separator: None,
            template: vec![Part::Body],
            key_encoding: KeyEncoding::Utf8,
            platform: Platform::Dub,
        }
    }

    /// Standard Webhooks 1.0, symmetric signatures.
    pub fn standard() -> Self {
        Self {
            signature_header: "webhook-signature".into(),
            timestamp: TimestampPlace::Header("webhook-timestamp".into()),
            id_header: Some("webhook-id".into()),
            encoding: Encoding::Base64,
            prefix: "v1,".into(),
            separator: Some(' '),
            template: vec![
                Part::Id,
                Part::Literal(".".into()),
                Part::Timestamp,
                Part::Literal(".".into()),
                Part::Body,
            ],
            key_encoding: KeyEncoding::Whsec,
            platform: Platform::Standard,
        }
    }

    /// Reads a template such as `{id}.{timestamp}.{body}`.
    pub fn parse_template(text: &str) -> Result<Vec<Part>, SchemeError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            let close = rest[open..].find('}').ok_or(SchemeError::UnknownPlaceholder)? + open;
            parts.push(match &rest[open + 1..close] {
                "timestamp" => Part::Timestamp,
                "id" => Part::Id,
                "body" => Part::Body,
                _ => return Err(SchemeError::UnknownPlaceholder),
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(parts)
    }

    /// Whether the parts fit together: what is signed can be found, what is found is signed.
    pub fn check(&self) -> Result<(), SchemeError> {
        let count = |part: &Part| self.template.iter().filter(|p| *p == part).count();
        if count(&Part::Body) != 1 {
            return Err(SchemeError::NoBody);
        }
        if (self.timestamp != TimestampPlace::Nowhere) != (count(&Part::Timestamp) > 0) {
            return Err(SchemeError::Unmatched("timestamp"));
        }
        if self.id_header.is_some() != (count(&Part::Id) > 0) {
            return Err(SchemeError::Unmatched("id_header"));
        }
        let timestamp_header = match &self.timestamp {
            TimestampPlace::Header(name) => Some(name),
            TimestampPlace::Nowhere | TimestampPlace::SignatureElement(_) => None,
        };
        let headers = [Some(&self.signature_header), timestamp_header, self.id_header.as_ref()];
        for name in headers.into_iter().flatten() {
            let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(SchemeError::BadHeader(name.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_part_by_part() {
        assert_eq!(
            Scheme::parse_template("v0:{timestamp}:{body}"),
            Ok(vec![
                Part::Literal("v0:".into()),
                Part::Timestamp,
                Part::Literal(":".into()),
                Part::Body
            ])
        );
        for wrong in ["{nonce}{body}", "{body", "{}"] {
            assert_eq!(Scheme::parse_template(wrong), Err(SchemeError::UnknownPlaceholder));
        }
    }

    #[test]
    fn schemes_that_do_not_hold_together_are_refused() {
        for scheme in [Scheme::linktree(), Scheme::dub(), Scheme::standard()] {
            assert_eq!(scheme.check(), Ok(()));
        }
        let mut no_body = Scheme::linktree();
        no_body.template = vec![Part::Timestamp];
        assert_eq!(no_body.check(), Err(SchemeError::NoBody));
        let mut unsigned_time = Scheme::linktree();
        unsigned_time.template = vec![Part::Body];
        assert_eq!(unsigned_time.check(), Err(SchemeError::Unmatched("timestamp")));
        let mut no_id = Scheme::standard();
        no_id.id_header = None;
        assert_eq!(no_id.check(), Err(SchemeError::Unmatched("id_header")));
        let mut odd = Scheme::dub();
        odd.signature_header = "Dub Signature".into();
        assert!(matches!(odd.check(), Err(SchemeError::BadHeader(_))));
    }
}
