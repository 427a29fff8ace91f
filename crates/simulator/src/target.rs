//! Where the traffic goes: a plain HTTP address, taken apart once.

use http::{HeaderValue, Uri};
use url::{Host, Url};

/// Where the traffic goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the `Host` header says.
    pub(crate) host_header: HeaderValue,
    /// Path and query: what a request line to an origin server holds.
    pub(crate) path: Uri,
}

/// An address that traffic cannot be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Load is to measure the receiver and not a TLS library.
    #[error(
        "https is not supported: the simulator speaks plain http only; give the address behind \
         the TLS proxy, as http://127.0.0.1:8080/webhooks/linktree"
    )]
    Https,
    /// Neither `http` nor `https`.
    #[error("the address must start with http://, not with {0}:")]
    OtherScheme(String),
    /// Not an address.
    #[error("not an address: {0}")]
    Unreadable(String),
}

impl Target {
    /// Reads an `http://` address.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        let url = Url::parse(text).map_err(|error| BadTarget::Unreadable(error.to_string()))?;
        match url.scheme() {
            "http" => (),
            "https" => return Err(BadTarget::Https),
            other => return Err(BadTarget::OtherScheme(other.to_owned())),
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(BadTarget::Unreadable("no host".to_owned())),
        };
        // Without the user name and the password that an address may hold.
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let unreadable = |error: http::Error| BadTarget::Unreadable(error.to_string());
        Ok(Self {
            host,
            port: url.port().unwrap_or(80),
            host_header: HeaderValue::from_str(authority).map_err(|e| unreadable(e.into()))?,
            path: path.parse().map_err(|e: http::uri::InvalidUri| unreadable(e.into()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_addresses_are_taken_apart() {
        for (text, host, port, header, path) in [
            ("http://localhost/a", "localhost", 80, "localhost", "/a"),
            ("http://10.1.2.3:8080", "10.1.2.3", 8080, "10.1.2.3:8080", "/"),
            ("http://[::1]:81/w?x=1#y", "::1", 81, "[::1]:81", "/w?x=1"),
            ("http://me:pass@h.example/", "h.example", 80, "h.example", "/"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.host_header, header);
            assert_eq!(target.path.to_string(), path);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        assert_eq!(Target::parse("https://h.example/"), Err(BadTarget::Https));
        assert!(BadTarget::Https.to_string().contains("not supported"));
        assert!(matches!(Target::parse("ftp://h.example/"), Err(BadTarget::OtherScheme(_))));
        for text in ["", "h.example", "http://"] {
            assert!(matches!(Target::parse(text), Err(BadTarget::Unreadable(_))), "{text}");
        }
    }
}
