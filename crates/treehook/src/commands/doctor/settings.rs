//! What can be said of the configuration by itself: secrets, the visitor key, the token.

use secrecy::ExposeSecret as _;
use treehook_event::KeyEncoding;

use super::finding::Finding;
use crate::config::{Config, Setting, Written};

/// Below this many bytes a key can be guessed by whoever has one signed delivery.
const KEY_BYTES_MIN: usize = 16;

/// Where the settings came from.
pub(super) fn origins(settings: &[Setting]) -> Finding {
    let mut given: Vec<&str> = Vec::new();
    for setting in settings.iter().filter(|setting| setting.origin != "default") {
        // Of a file's settings the file is enough.
        let origin = setting.origin.split(": ").next().unwrap_or_default();
        if !given.contains(&origin) {
            given.push(origin);
        }
    }
    let what = if given.is_empty() {
        "every setting has its default".to_owned()
    } else {
        format!("read from {}", given.join(", "))
    };
    Finding::ok("configuration", what)
}

/// Each source's secrets.
pub(super) fn secrets(config: &Config, written: &[Written]) -> Vec<Finding> {
    if config.sources.is_empty() {
        return vec![Finding::warn(
            "secrets",
            "no source has a secret: `serve` and `receive` would not start; other roles need none",
            "set TREEHOOK_LINKTREE_SECRET, TREEHOOK_DUB_SECRET, TREEHOOK_STANDARD_SECRET or a \
             [[source]]",
        )];
    }
    let of_source = |name: &str| written.iter().find(|written| written.source == name);
    config
        .sources
        .iter()
        .filter_map(|source| {
            let written = of_source(source.name.as_str())?;
            let parts = written.value.expose_secret().split(',').map(str::trim);
            let encoding = source.scheme.key_encoding;
            let weak: Vec<String> = parts
                .enumerate()
                .filter(|(_, secret)| key_bytes(secret, encoding) < KEY_BYTES_MIN)
                .map(|(position, _)| position.to_string())
                .collect();
            let (name, count) = (&source.name, source.keys.len());
            Some(if weak.is_empty() {
                Finding::ok("secrets", format!("`{name}`: {count}, each fit to be a key"))
            } else {
                let which = weak.join(", ");
                Finding::warn(
                    "secrets",
                    format!("`{name}`: secret {which} is shorter than {KEY_BYTES_MIN} bytes"),
                    format!(
                        "rotate it: set a longer one first, the old one last, in {}",
                        written.origin
                    ),
                )
            })
        })
        .collect()
}

/// Length of the key that a secret decodes to.
fn key_bytes(secret: &str, encoding: KeyEncoding) -> usize {
    match encoding {
        KeyEncoding::Utf8 => secret.len(),
        KeyEncoding::Hex => secret.len() / 2,
        KeyEncoding::Whsec => {
            let text = secret.strip_prefix("whsec_").unwrap_or(secret).trim_end_matches('=');
            text.len() * 3 / 4
        }
    }
}

/// Whether one visitor is one visitor everywhere.
pub(super) fn visitor_key(config: &Config) -> Finding {
    let own = config.data_dir.join("visitor.key").is_file();
    match (config.visitor_key.is_some(), config.database_url.is_some()) {
        (true, _) => Finding::ok("visitor_key", "set"),
        (false, true) => Finding::warn(
            "visitor_key",
            "not set, and the database may be shared: each receiver would count one visitor as \
             another",
            "set the same TREEHOOK_VISITOR_KEY for every receiver",
        ),
        (false, false) if own => Finding::ok("visitor_key", "the data directory's own"),
        (false, false) => Finding::ok("visitor_key", "not set; made at the first start"),
    }
}

/// Who may read reports.
pub(super) fn api_token(config: &Config) -> Finding {
    let address = config.admin_listen;
    match (config.api_token.is_some(), address.ip().is_loopback()) {
        (true, _) => Finding::ok("api_token", "set; the read API and the dashboard ask for it"),
        (false, true) => {
            Finding::ok("api_token", format!("not set; {address} is for this machine alone"))
        }
        (false, false) => Finding::warn(
            "api_token",
            format!(
                "not set, and {address} is for other machines: metrics and health alone are served"
            ),
            "set TREEHOOK_API_TOKEN, or a loopback TREEHOOK_ADMIN_LISTEN",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_key_is_that_of_its_bytes() {
        for (secret, encoding, bytes) in [
            ("0123456789abcdef", KeyEncoding::Utf8, 16),
            ("0123456789abcdef", KeyEncoding::Hex, 8),
            ("whsec_AAECAwQFBgcICQoLDA0ODw==", KeyEncoding::Whsec, 16),
            ("whsec_AAECAwQFBgcICQoLDA0O", KeyEncoding::Whsec, 15),
        ] {
            assert_eq!(key_bytes(secret, encoding), bytes, "{secret}");
        }
    }
}
