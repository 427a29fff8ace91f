//! Signing keys: decoded once at start-up, so that a bad one is a start-up error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::scheme::KeyEncoding;

/// An HMAC-SHA256 key, ready to be used. Its `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

/// Why a secret cannot be used. Never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSecret(&'static str);

impl SigningKey {
    /// Decodes a configured secret. `whsec_` is what Standard Webhooks puts before the base64 of the key.
    pub fn decode(secret: &str, encoding: KeyEncoding) -> Result<Self, BadSecret> {
        if secret.is_empty() {
            return Err(BadSecret("the secret is empty"));
        }
        match encoding {
            KeyEncoding::Utf8 => Ok(Self::from_bytes(secret.as_bytes())),
            KeyEncoding::Hex => hex::decode(secret)
                .map(|key| Self::from_bytes(&key))
                .map_err(|_| BadSecret("the secret is not hex")),
            KeyEncoding::Whsec => {
                let text = secret
                    .strip_prefix("whsec_")
                    .ok_or(BadSecret("a Standard Webhooks secret starts with `whsec_`"))?;
                match STANDARD.decode(text) {
                    Ok(key) if key.is_empty() => Err(BadSecret("the secret's key is empty")),
                    Ok(key) => Ok(Self::from_bytes(&key)),
                    Err(_) => Err(BadSecret("what follows `whsec_` is not base64")),
                }
            }
        }
    }

    /// A key of raw bytes.
    pub fn from_bytes(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// HMAC-SHA256 over the concatenation of the parts.
    pub(crate) fn mac<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2, 3, 4, 6 and 7 (5 is about truncation).
    #[test]
    fn hmac_sha256_gives_the_answers_of_rfc_4231() {
        let cases: [(Vec<u8>, Vec<u8>, &str); 6] = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            ((1..=25).collect(), vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (vec![0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (vec![0xaa; 131], b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ];
        for (number, (key, data, want)) in cases.iter().enumerate() {
            let got = SigningKey::from_bytes(key).mac([data.as_slice()].into_iter());
            assert_eq!(hex::encode(got), *want, "case {number}");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_decoded_is_refused() {
        for (secret, encoding) in [
            ("", KeyEncoding::Utf8),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyEncoding::Whsec),
            ("whsec_***", KeyEncoding::Whsec),
            ("whsec_", KeyEncoding::Whsec),
            ("xyz", KeyEncoding::Hex),
        ] {
            let refused = SigningKey::decode(secret, encoding).expect_err(secret);
            assert!(secret.len() < 3 || !refused.to_string().contains(secret));
        }
    }
}
