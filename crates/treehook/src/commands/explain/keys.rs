//! The keys that a delivery may have been signed with: the right ones, and those of usual mistakes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use treehook_event::{KeyEncoding, SigningKey};

use super::reason::Reason;

/// A secret at hand, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Secret {
    /// As "secret 0 of `linktree`".
    pub(super) label: String,
    pub(super) text: SecretString,
    /// How its own source decodes it.
    pub(super) encoding: KeyEncoding,
}

/// A key to try.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// As "secret 0 of `linktree`, with a line end after it".
    pub(super) label: String,
    /// What it would mean if it were the one.
    pub(super) meaning: Meaning,
    pub(super) signing: SigningKey,
}

/// What it means when a key matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is one of the source's own.
    Right,
    /// It is another source's.
    Foreign,
    /// The sender's secret has other characters around it than ours.
    Altered,
    /// The sender makes the key of the same secret in another way.
    DecodedOtherwise,
}

/// The secrets of one setting, each by itself, newest first.
pub(super) fn secrets_of(
    written: &SecretString,
    whose: &str,
    encoding: KeyEncoding,
) -> Vec<Secret> {
    let parts = written.expose_secret().split(',').map(str::trim).enumerate();
    parts
        .map(|(position, text)| Secret {
            label: format!("secret {position} of {whose}"),
            text: SecretString::from(text),
            encoding,
        })
        .collect()
}

/// The source's own keys, as its scheme decodes them.
pub(super) fn right(own: &[Secret]) -> Vec<Key> {
    own.iter().filter_map(|secret| key(secret, secret.encoding, Meaning::Right)).collect()
}

/// Why an own secret is no key at all.
pub(super) fn unusable(own: &[Secret]) -> Vec<Reason> {
    own.iter()
        .filter_map(|secret| {
            let problem = SigningKey::decode(secret.text.expose_secret(), secret.encoding).err()?;
            Some(Reason::new(
                "unusable_secret",
                format!("{}: {problem}", secret.label),
                "copy the secret again, whole, from where the sender shows it",
            ))
        })
        .collect()
}

/// Keys of other sources, and of usual mistakes with the own secrets.
pub(super) fn further(own: &[Secret], others: &[Secret], whole: Option<&SecretString>) -> Vec<Key> {
    let mut keys: Vec<Key> = others
        .iter()
        .flat_map(|secret| {
            let own_encoding = own.first().map_or(secret.encoding, |own| own.encoding);
            [own_encoding, secret.encoding].map(|encoding| key(secret, encoding, Meaning::Foreign))
        })
        .flatten()
        .collect();
    for secret in own {
        keys.extend(altered(secret));
        keys.extend(decoded_otherwise(secret));
    }
    // A secret with a comma in it is read as two.
    if let Some(whole) = whole.filter(|whole| whole.expose_secret().contains(',')) {
        keys.push(Key {
            label: "the whole setting, commas and all".to_owned(),
            meaning: Meaning::Altered,
            signing: SigningKey::from_bytes(whole.expose_secret().trim().as_bytes()),
        });
    }
    keys
}

fn key(secret: &Secret, encoding: KeyEncoding, meaning: Meaning) -> Option<Key> {
    let signing = SigningKey::decode(secret.text.expose_secret(), encoding).ok()?;
    Some(Key { label: secret.label.clone(), meaning, signing })
}

fn altered(secret: &Secret) -> Vec<Key> {
    let text = secret.text.expose_secret();
    let mut variants = vec![
        ("with a line end after it", format!("{text}\n")),
        ("with a CRLF after it", format!("{text}\r\n")),
        ("with a blank after it", format!("{text} ")),
        ("with a blank before it", format!(" {text}")),
    ];
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        variants.extend(inner.map(|inner| ("without the quotes around it", inner.to_owned())));
    }
    variants
        .into_iter()
        .map(|(label, text)| Key {
            label: format!("{}, {label}", secret.label),
            meaning: Meaning::Altered,
            // Only the bytes as they stand can have white space around them.
            signing: SigningKey::decode(&text, secret.encoding)
                .unwrap_or_else(|_| SigningKey::from_bytes(text.as_bytes())),
        })
        .collect()
}

fn decoded_otherwise(secret: &Secret) -> Vec<Key> {
    let text = secret.text.expose_secret();
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let variants = [
        ("its characters taken as the key", Some(text.as_bytes().to_vec())),
        ("what follows `whsec_` taken as the key, not decoded", Some(bare.as_bytes().to_vec())),
        ("decoded from base64", STANDARD.decode(bare).ok()),
        ("decoded from hex", hex::decode(bare).ok()),
    ];
    variants
        .into_iter()
        .filter_map(|(label, bytes)| {
            let bytes = bytes.filter(|bytes| !bytes.is_empty())?;
            Some(Key {
                label: format!("{}, {label}", secret.label),
                meaning: Meaning::DecodedOtherwise,
                signing: SigningKey::from_bytes(&bytes),
            })
        })
        .collect()
}

/// What a match with this key says about the secret; nothing when it is the right one.
pub(super) fn reason(key: &Key, source: &str) -> Option<Reason> {
    let label = &key.label;
    match key.meaning {
        Meaning::Right => None,
        Meaning::Foreign => Some(Reason::new(
            "other_secret",
            format!("it is signed with {label}"),
            format!("give {source} the secret that its sender uses, or the sender the right path"),
        )),
        Meaning::Altered => Some(Reason::new(
            "altered_secret",
            format!("it is signed with {label}"),
            "copy the secret again on both sides, without quotes, blanks and line ends",
        )),
        Meaning::DecodedOtherwise => Some(Reason::new(
            "secret_decoded_otherwise",
            format!("it is signed with {label}"),
            "set `key_encoding` for this source to what the sender does: utf8, whsec or hex",
        )),
    }
}
