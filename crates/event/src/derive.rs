//! What is derived from an event's fields: device, referrer, country, title, URL (CONTRACT.md section 4).

use std::borrow::Cow;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use url::Url;

/// Longest title kept, in characters.
pub const LONGEST_TITLE: usize = 150;
/// Longest URL or referrer looked at, in bytes: what browsers and servers agree on.
const LONGEST_URL: usize = 2048;
/// A country or a referrer that nobody can tell.
const UNKNOWN: CompactString = CompactString::const_new("unknown");
/// Longest user agent looked at, in bytes.
const LONGEST_USER_AGENT: usize = 1024;

/// The kind of device a visitor used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A phone.
    Mobile,
    /// A computer.
    Desktop,
    /// A tablet.
    Tablet,
    /// Nobody said, or nobody knows.
    Unknown,
}

impl Device {
    /// Its name in rollups and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Desktop => "desktop",
            Self::Tablet => "tablet",
            Self::Unknown => "unknown",
        }
    }

    /// The other way; anything else is `Unknown`.
    pub fn named(name: &str) -> Self {
        let is = |known: &str| name.trim().eq_ignore_ascii_case(known);
        match () {
            () if is("mobile") => Self::Mobile,
            () if is("desktop") => Self::Desktop,
            () if is("tablet") => Self::Tablet,
            () => Self::Unknown,
        }
    }
}

/// The given value, else what the user agent says.
pub fn device_of(given: Option<&str>, user_agent: Option<&str>) -> Device {
    match given.map_or(Device::Unknown, Device::named) {
        Device::Unknown => user_agent.map_or(Device::Unknown, device_of_user_agent),
        known => known,
    }
}

/// The few tokens by which browsers say on what they run. Tablets come first: they name a phone's
/// system too. Crawlers name desktops and phones alike and are neither.
fn device_of_user_agent(user_agent: &str) -> Device {
    if user_agent.len() > LONGEST_USER_AGENT {
        return Device::Unknown;
    }
    let text = user_agent.to_ascii_lowercase();
    let any = |tokens: &[&str]| tokens.iter().any(|token| text.contains(token));
    let android_tablet = text.contains("android") && !text.contains("mobile");
    if any(&["bot", "crawl", "spider", "slurp", "facebookexternalhit", "headless"]) {
        Device::Unknown
    } else if any(&["ipad", "tablet", "kindle", "silk/", "playbook"]) || android_tablet {
        Device::Tablet
    } else if any(&["mobi", "iphone", "ipod", "android", "windows phone"]) {
        Device::Mobile
    } else if any(&["windows nt", "macintosh", "x11", "cros", "linux"]) {
        Device::Desktop
    } else {
        Device::Unknown
    }
}

/// Two letters in upper case, else `unknown`.
pub fn country_of(given: Option<&str>) -> CompactString {
    match given.map(str::trim) {
        Some(code) if code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()) => {
            code.to_ascii_uppercase().into()
        }
        _ => UNKNOWN,
    }
}

/// The referring host; `direct` when nobody referred; `unknown` for a hostile value.
pub fn referrer_of(given: Option<&str>) -> CompactString {
    let text = given.unwrap_or_default().trim();
    if text.is_empty() || text.eq_ignore_ascii_case("direct") || text == "(direct)" {
        return CompactString::const_new("direct");
    }
    host_of(text).map_or(UNKNOWN, CompactString::from)
}

/// The host of a URL, or of a bare host name such as `t.co`: lower case, without `www.`.
pub fn host_of(text: &str) -> Option<String> {
    if text.len() > LONGEST_URL || text.chars().any(char::is_control) {
        return None;
    }
    let host = match plain_host(text) {
        Some(host) => Cow::Borrowed(host),
        None => Cow::Owned(parsed_host(text)?),
    };
    let host = host.strip_prefix("www.").unwrap_or(&host);
    (!host.is_empty() && host.len() <= 253).then(|| host.to_owned())
}

/// The host where it is plain to see, as it nearly always is: at a fraction of the cost of
/// [`parsed_host`], which says the same.
fn plain_host(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.unwrap_or(text).split(['/', '?', '#']).next()?;
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let (before, last) = host.rsplit_once('.')?;
    // A last part that begins with a digit could be the end of an IPv4 address; `xn--` is decoded.
    (host.bytes().all(is_plain)
        && last.starts_with(|c: char| c.is_ascii_lowercase())
        && before.split('.').all(|label| !label.is_empty())
        && !host.contains("xn--"))
    .then_some(host)
}

fn parsed_host(text: &str) -> Option<String> {
    let url = Url::parse(text).or_else(|error| match error {
        // A bare name must look like one: a word without a dot is no host on the internet.
        url::ParseError::RelativeUrlWithoutBase if text.contains('.') => {
            Url::parse(&format!("https://{text}"))
        }
        other => Err(other),
    });
    let known = |url: &Url| matches!(url.scheme(), "http" | "https" | "android-app" | "ios-app");
    let url = url.ok().filter(known)?;
    Some(url.host_str()?.trim_end_matches('.').to_ascii_lowercase())
}

/// A title without tags and control characters, trimmed, at most [`LONGEST_TITLE`] characters.
pub fn title_of(given: &str) -> String {
    // What is looked at is bounded, or a title of nothing but `<` would cost its square.
    // Invisible characters go first, or they would hide a tag until they are gone.
    let visible = given.chars().take(4096).filter(|c| !is_invisible(*c));
    let mut text: String = visible.collect();
    // Removing a tag can join what stood around it into another one.
    while let Some(without) = without_tags(&text) {
        text = without;
    }
    text.trim().chars().take(LONGEST_TITLE).collect::<String>().trim_end().to_owned()
}

/// Control characters, and the marks that turn the reading direction of what follows.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without `<...>`, or `None` when there was no tag.
fn without_tags(text: &str) -> Option<String> {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(open) = rest.find('<') {
        let after = &rest[open + 1..];
        let is_tag =
            after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        if is_tag {
            found = true;
            kept.push_str(&rest[..open]);
            // A tag that never ends takes the rest with it.
            rest = after.find('>').map_or("", |close| &after[close + 1..]);
        } else {
            kept.push_str(&rest[..=open]);
            rest = after;
        }
    }
    kept.push_str(rest);
    found.then_some(kept)
}

/// An `http` or `https` URL as it was given; `None` for everything else, as `javascript:`.
pub fn url_of(given: &str) -> Option<String> {
    let text = given.trim();
    if text.len() > LONGEST_URL || text.chars().any(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_host_that_is_plain_to_see_is_the_one_that_a_parser_finds(
            scheme in prop::sample::select(vec!["", "http://", "https://", "https:", "HTTPS://", "a:"]),
            host in r"([a-z0-9x.\-]{1,6}|www|com|xn--|0x1|127|\.){1,4}",
            rest in r"([/?#:@\\%][a-z0-9:@/\\. é]{0,6}|)",
        ) {
            let text = format!("{scheme}{host}{rest}");
            if let Some(plain) = plain_host(&text) {
                prop_assert_eq!(Some(plain.to_owned()), parsed_host(&text), "{}", text);
            }
        }
    }

    #[test]
    fn the_hosts_of_everyday_are_plain_to_see() {
        for text in
            ["https://www.instagram.com/", "http://t.co/abc?x=1", "l.facebook.com", "a-b.co#x"]
        {
            assert!(plain_host(text).is_some(), "{text}");
        }
        for text in
            ["https://a:1@b.co/", "http://1.2.3.4/", "t.co:80", "localhost", "xn--a.de", "T.co"]
        {
            assert_eq!(plain_host(text), None, "{text}");
        }
    }

    #[test]
    fn device_comes_from_the_field_then_from_the_user_agent() {
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148";
        let pixel = "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/120 Mobile Safari/537.36";
        let tab = "Mozilla/5.0 (Linux; Android 13; SM-X200) Chrome/120 Safari/537.36";
        let ipad = "Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) Mobile/15E148";
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120 Safari/537.36";
        let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        for (given, user_agent, device) in [
            (Some("MOBILE"), Some(windows), Device::Mobile),
            (Some("Desktop"), None, Device::Desktop),
            (Some("smart fridge"), Some(ipad), Device::Tablet),
            (None, Some(iphone), Device::Mobile),
            (None, Some(pixel), Device::Mobile),
            (None, Some(tab), Device::Tablet),
            (None, Some(windows), Device::Desktop),
            (None, Some(bot), Device::Unknown),
            (None, Some("curl/8"), Device::Unknown),
            (None, None, Device::Unknown),
        ] {
            assert_eq!(device_of(given, user_agent), device, "{given:?} {user_agent:?}");
        }
    }

    #[test]
    fn referrers_become_hosts() {
        let long = format!("https://example.com/{}", "a".repeat(3000));
        for (given, referrer) in [
            (Some("https://www.Instagram.com/some/path?x=1"), "instagram.com"),
            (Some("http://t.co:8080/x"), "t.co"),
            (Some("android-app://com.twitter.android/"), "com.twitter.android"),
            (Some("t.co"), "t.co"),
            (Some("(direct)"), "direct"),
            (Some("Direct"), "direct"),
            (Some("  "), "direct"),
            (None, "direct"),
            (Some("not a url"), "unknown"),
            (Some("garbage"), "unknown"),
            (Some("javascript:alert(1)"), "unknown"),
            (Some("https://exa\u{1}mple.com"), "unknown"),
            (Some(long.as_str()), "unknown"),
        ] {
            assert_eq!(referrer_of(given), referrer, "{given:?}");
        }
    }

    #[test]
    fn countries_are_two_letters() {
        for (given, country) in [
            (Some("de"), "DE"),
            (Some(" US "), "US"),
            (Some("USA"), "unknown"),
            (Some("1A"), "unknown"),
            (None, "unknown"),
        ] {
            assert_eq!(country_of(given), country);
        }
    }

    #[test]
    fn titles_lose_tags_and_control_characters() {
        for (given, title) in [
            ("  My <b>shop</b>\u{0}  ", "My shop"),
            ("<<b>script>alert(1)<</b>/script>", "alert(1)"),
            ("I <3 you, 1 < 2", "I <3 you, 1 < 2"),
            ("cut <img src=x onerror=1", "cut"),
            ("\u{202e}evil", "evil"),
            ("<\u{0}script>alert(1)<\u{202e}/script>x", "alert(1)x"),
        ] {
            assert_eq!(title_of(given), title);
        }
        assert_eq!(title_of(&"é".repeat(200)).chars().count(), LONGEST_TITLE);
    }

    #[test]
    fn urls_are_http_or_nothing() {
        for (given, fits) in [
            ("https://example.com/x", true),
            ("HTTP://EXAMPLE.com", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("//example.com", false),
            ("", false),
        ] {
            assert_eq!(url_of(given).is_some(), fits, "{given}");
        }
    }
}
