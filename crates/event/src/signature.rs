//! When to believe a delivery: reading the claim from the headers and checking it against the keys.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::{Choice, ConstantTimeEq as _};

use crate::moment::Timestamp;
use crate::names::SourceName;
use crate::rejection::Rejection;
use crate::scheme::{Encoding, Part, Scheme, TimestampPlace};
use crate::secret::SigningKey;

/// Signatures looked at in one header. Standard Webhooks senders list one per active key;
/// a longer list is somebody making us work.
const CANDIDATES_MAX: usize = 16;

/// Some senders leave the padding off.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One sender: its path, how it signs, with which keys (newest first), and how old a signature may be.
#[derive(Debug, Clone)]
pub struct Source {
    /// The last part of its path.
    pub name: SourceName,
    /// How it signs.
    pub scheme: Scheme,
    /// Its active keys, newest first. Never empty.
    pub keys: Vec<SigningKey>,
    /// Largest accepted difference between the signed timestamp and now, either way.
    pub tolerance_seconds: u64,
}

/// What a look for a header found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The header is not there.
    Absent,
    /// It is there once.
    Once(&'a [u8]),
    /// It is there more than once: whoever put it there, one of them is not the sender's.
    Repeated,
}

/// What the headers claim, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    candidates: Vec<[u8; 32]>,
    well_formed: bool,
    timestamp: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
}

impl<'a> Claim<'a> {
    /// Reads the headers that the scheme names. Only an absent header is told apart here; whatever
    /// is malformed becomes a claim that cannot hold, so that it costs and answers the same.
    pub fn read(scheme: &Scheme, find: impl Fn(&str) -> Found<'a>) -> Result<Self, Rejection> {
        let mut well_formed = true;
        let mut fetch = |name: &str| match find(name) {
            Found::Absent => Err(Rejection::MissingSignature),
            Found::Once(value) => Ok(value.trim_ascii()),
            Found::Repeated => {
                well_formed = false;
                Ok(&b""[..])
            }
        };
        let signature = fetch(&scheme.signature_header)?;
        let id = scheme.id_header.as_deref().map(&mut fetch).transpose()?;
        let timestamp = match &scheme.timestamp {
            TimestampPlace::Nowhere => None,
            TimestampPlace::Header(name) => Some(fetch(name)?),
            TimestampPlace::SignatureElement(prefix) => Some(
                elements(signature, scheme)
                    .find_map(|e| e.strip_prefix(prefix.as_bytes()))
                    .unwrap_or(b""),
            ),
        };
        let candidates: Vec<[u8; 32]> = elements(signature, scheme)
            .filter_map(|element| element.strip_prefix(scheme.prefix.as_bytes()))
            .filter_map(|text| decode(text, scheme.encoding))
            .take(CANDIDATES_MAX)
            .collect();
        well_formed &= !candidates.is_empty();
        Ok(Self { candidates, well_formed, timestamp, id })
    }

    fn signed_at(&self) -> Option<Timestamp> {
        let text = std::str::from_utf8(self.timestamp?).ok()?;
        // 13 digits are milliseconds; more would be no time at all.
        if text.is_empty() || text.len() > 13 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        text.parse().ok().map(Timestamp::from_number)
    }
}

fn elements<'a>(header: &'a [u8], scheme: &Scheme) -> impl Iterator<Item = &'a [u8]> {
    let separator = scheme.separator;
    header
        .split(move |byte| separator.is_some_and(|s| char::from(*byte) == s))
        .map(<[u8]>::trim_ascii)
}

fn decode(text: &[u8], encoding: Encoding) -> Option<[u8; 32]> {
    // A decoder that is handed more room than needed says how much it used.
    let mut room = [0; 48];
    let mac = match encoding {
        // Without a branch for each digit: those of a MAC are as good as random.
        Encoding::Hex => base16ct::mixed::decode(text, &mut room).ok()?,
        Encoding::Base64 => {
            let length = BASE64.decode_slice(text, &mut room).ok()?;
            &room[..length]
        }
    };
    mac.try_into().ok()
}

/// A body whose signature we checked. Only [`verify`] can make one.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'a> {
    body: &'a [u8],
    id: Option<&'a [u8]>,
    secret: usize,
}

impl<'a> Verified<'a> {
    /// The body, byte for byte as it was signed.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The signed message id, where the scheme has one.
    pub fn id(&self) -> Option<&'a [u8]> {
        self.id
    }

    /// Which key matched, counted from the newest: a metric label.
    pub fn secret(&self) -> usize {
        self.secret
    }
}

/// Checks the claim against every key of the source, then its age (CONTRACT.md section 1).
pub fn verify<'a>(
    source: &Source,
    claim: &Claim<'a>,
    body: &'a [u8],
    now: Timestamp,
) -> Result<Verified<'a>, Rejection> {
    // A claim that cannot hold is compared all the same, with a MAC that nobody can ask for:
    // a malformed signature must cost what a wrong one costs.
    let impossible = [[0; 32]];
    let candidates: &[[u8; 32]] =
        if claim.candidates.is_empty() { &impossible } else { &claim.candidates };
    let mut secret = None;
    for (position, key) in source.keys.iter().enumerate() {
        let parts = source.scheme.template.iter().map(|part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Timestamp => claim.timestamp.unwrap_or_default(),
            Part::Id => claim.id.unwrap_or_default(),
            Part::Body => body,
        });
        let expected = key.mac(parts);
        // Every candidate and every key is looked at, whether or not one has matched already.
        let mut matches = Choice::from(0);
        for candidate in candidates {
            matches |= candidate.ct_eq(&expected);
        }
        if bool::from(matches) {
            secret = secret.or(Some(position));
        }
    }
    let secret = secret.filter(|_| claim.well_formed).ok_or(Rejection::InvalidSignature)?;
    check_age(source, claim, now)?;
    Ok(Verified { body, id: claim.id, secret })
}

fn check_age(source: &Source, claim: &Claim<'_>, now: Timestamp) -> Result<(), Rejection> {
    if source.scheme.timestamp == TimestampPlace::Nowhere {
        return Ok(());
    }
    let signed_at = claim.signed_at().ok_or(Rejection::StaleTimestamp)?;
    // Whole seconds, so that a header in seconds and a clock in milliseconds agree on the edge.
    // Both directions: a clock ahead of ours is as suspect as an old replay.
    if now.as_seconds().abs_diff(signed_at.as_seconds()) <= source.tolerance_seconds {
        Ok(())
    } else {
        Err(Rejection::StaleTimestamp)
    }
}

/// Signs a body as this scheme's sender would: the headers to send, names in lower case.
pub fn sign(
    scheme: &Scheme,
    key: &SigningKey,
    id: &str,
    signed_at: Timestamp,
    body: &[u8],
) -> Vec<(String, String)> {
    let timestamp = signed_at.as_seconds().to_string();
    let mac = key.mac(scheme.template.iter().map(|part| match part {
        Part::Literal(text) => text.as_bytes(),
        Part::Timestamp => timestamp.as_bytes(),
        Part::Id => id.as_bytes(),
        Part::Body => body,
    }));
    let text = match scheme.encoding {
        Encoding::Hex => hex::encode(mac),
        Encoding::Base64 => BASE64.encode(mac),
    };
    let mut signature = format!("{}{text}", scheme.prefix);
    let mut headers = Vec::with_capacity(3);
    match &scheme.timestamp {
        TimestampPlace::Nowhere => (),
        TimestampPlace::Header(name) => headers.push((name.clone(), timestamp)),
        TimestampPlace::SignatureElement(prefix) => {
            let separator = scheme.separator.unwrap_or(',');
            signature = format!("{prefix}{timestamp}{separator}{signature}");
        }
    }
    headers.push((scheme.signature_header.clone(), signature));
    if let Some(name) = &scheme.id_header {
        headers.push((name.clone(), id.to_owned()));
    }
    headers
}
