//! How to reach Linktree's API, and how patient to be with it.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

/// Where Linktree's API is.
pub const DEFAULT_BASE_URL: &str = "https://api.linktr.ee/v1";

/// How to reach Linktree's API. Made by [`Settings::new`]; change what differs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What stands before `/webhooks`.
    pub base_url: String,
    /// The bearer token.
    pub token: SecretString,
    /// Whether a sandbox token (`lt_test_...`) is what is wanted.
    pub sandbox: bool,
    /// How long a request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// What Linktree allows; the client stays under 90 % of it.
    pub quota: Quota,
    /// When and how often to try again.
    pub retry: RetryRule,
    /// When to leave Linktree alone.
    pub circuit: CircuitRule,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: u32,
    /// In any stretch of this length.
    pub per: Duration,
}

/// When and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts at a request, the first one included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles from there.
    pub first: Duration,
    /// No pause of ours is longer.
    pub longest: Duration,
    /// No pause that Linktree asks for is kept if it is longer: whoever waits had better know.
    pub patience: Duration,
}

/// When to leave Linktree alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitRule {
    /// After this many failures in a row.
    pub failures: u32,
    /// For this long; then one request goes ahead of the others.
    pub rest: Duration,
}

/// Settings that no request can be made with. Holds no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Nothing to log in with.
    #[error("the Linktree API key is empty: set LINKTREE_API_KEY")]
    NoToken,
    /// A token that cannot stand in a header.
    #[error("the Linktree API key holds characters that no key has: set LINKTREE_API_KEY anew")]
    UnusableToken,
    /// A webhook of the sandbox would never bring an event of a real profile.
    #[error("LINKTREE_API_KEY is a sandbox key (lt_test_): use a live one, or ask for the sandbox")]
    SandboxToken,
    /// Not an address that requests can go to.
    #[error(
        "the base URL of Linktree's API must be an http or https address: see LINKTREE_BASE_URL"
    )]
    BaseUrl,
    /// The HTTP client does not start, as without a cryptography provider.
    #[error("the HTTP client does not start: {0}")]
    HttpClient(String),
}

impl Settings {
    /// As CONTRACT.md section 6 has it for webhooks.
    pub fn new(token: SecretString) -> Self {
        Self {
            base_url: DEFAULT_BASE_URL.to_owned(),
            token,
            sandbox: false,
            timeout: Duration::from_secs(10),
            quota: Quota { requests: 10, per: Duration::from_mins(1) },
            retry: RetryRule {
                attempts: 4,
                first: Duration::from_millis(500),
                longest: Duration::from_secs(30),
                patience: Duration::from_mins(2),
            },
            circuit: CircuitRule { failures: 5, rest: Duration::from_secs(30) },
        }
    }

    /// The `Authorization` header, marked so that nothing prints it.
    pub(crate) fn authorization(&self) -> Result<HeaderValue, BadSettings> {
        let token = self.token.expose_secret().trim();
        if token.is_empty() {
            return Err(BadSettings::NoToken);
        }
        if token.starts_with("lt_test_") && !self.sandbox {
            return Err(BadSettings::SandboxToken);
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| BadSettings::UnusableToken)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The base URL, taken apart.
    pub(crate) fn base(&self) -> Result<Url, BadSettings> {
        let url = Url::parse(self.base_url.trim()).map_err(|_| BadSettings::BaseUrl)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        if is_web { Ok(url) } else { Err(BadSettings::BaseUrl) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_token(token: &str) -> Settings {
        Settings::new(token.to_owned().into())
    }

    #[test]
    fn a_sandbox_token_is_refused_unless_it_is_asked_for() {
        assert_eq!(of_token("lt_test_1").authorization(), Err(BadSettings::SandboxToken));
        let asked_for = Settings { sandbox: true, ..of_token("lt_test_1") };
        assert!(asked_for.authorization().is_ok());
    }

    #[test]
    fn a_token_is_usable_and_never_shown() {
        assert_eq!(of_token(" ").authorization(), Err(BadSettings::NoToken));
        assert_eq!(of_token("a\nb").authorization(), Err(BadSettings::UnusableToken));
        let settings = of_token("lt_live_7");
        let header = settings.authorization().unwrap();
        assert_eq!(header, "Bearer lt_live_7");
        assert!(!format!("{settings:?} {header:?}").contains("lt_live_7"));
    }

    #[test]
    fn a_base_url_is_a_web_address() {
        for (text, fits) in [
            (DEFAULT_BASE_URL, true),
            ("http://127.0.0.1:1/", true),
            ("api.linktr.ee", false),
            ("file:///etc", false),
        ] {
            let settings = Settings { base_url: text.to_owned(), ..of_token("t") };
            assert_eq!(settings.base().is_ok(), fits, "{text}");
        }
    }
}
