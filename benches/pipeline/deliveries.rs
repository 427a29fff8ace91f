//! Deliveries of about 700 bytes, each with an id of its own, on links of which few are hot.

use std::ops::Range;

use treehook_event::{
    Claim, Context, Event, Found, KeyEncoding, PersonalKeys, Scheme, SigningKey, Source,
    SourceName, Timestamp, VisitorKey, parse, sign, verify,
};

use crate::harness::SECRET;

/// Profiles and links of each; the first are the hot ones.
const PROFILES: u64 = 1000;
const LINKS: u64 = 20;

/// Makes deliveries, and what a receiver makes of them.
pub(crate) struct Deliveries {
    pub(crate) source: Source,
    pub(crate) context: Context,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        let source = Source {
            name: SourceName::trusted("linktree"),
            scheme: Scheme::linktree(),
            keys: vec![SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap()],
            tolerance_seconds: 300,
        };
        let context = Context {
            visitors: VisitorKey::new(b"a-visitor-key-for-benchmarks").unwrap(),
            personal: PersonalKeys::default(),
            dedupe_window_ms: 400 * 86_400_000,
        };
        Self { source, context }
    }

    /// The headers that sign a body.
    pub(crate) fn headers(&self, body: &str, now: Timestamp) -> Vec<(String, String)> {
        sign(&self.source.scheme, &self.source.keys[0], "", now, body.as_bytes())
    }

    /// A whole HTTP request: one event, or an array of them.
    pub(crate) fn request(&self, numbers: Range<u64>, now: Timestamp) -> Vec<u8> {
        let mut body: Vec<String> = numbers.map(|number| body(number, now)).collect();
        let body = if body.len() == 1 { body.remove(0) } else { format!("[{}]", body.join(",")) };
        let mut request = format!(
            "POST /webhooks/linktree HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in self.headers(&body, now) {
            request.push_str(&name);
            request.push_str(": ");
            request.push_str(&value);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.push_str(&body);
        request.into_bytes()
    }

    /// What a receiver publishes for single deliveries with these numbers.
    pub(crate) fn events(&self, numbers: Range<u64>, now: Timestamp) -> Vec<Event> {
        numbers.flat_map(|number| self.accept(&body(number, now), now)).collect()
    }

    fn accept(&self, body: &str, now: Timestamp) -> Vec<Event> {
        self.accept_signed(&self.headers(body, now), body, now)
    }

    /// What a receiver does with a delivery before it publishes.
    pub(crate) fn accept_signed(
        &self,
        headers: &[(String, String)],
        body: &str,
        now: Timestamp,
    ) -> Vec<Event> {
        let find = |name: &str| {
            let found = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
            found.map_or(Found::Absent, |(_, value)| Found::Once(value.as_bytes()))
        };
        let claim = Claim::read(&self.source.scheme, find).unwrap();
        let verified = verify(&self.source, &claim, body.as_bytes(), now).unwrap();
        parse(&verified, &self.source, &self.context, now).unwrap()
    }
}

/// One envelope. Half of the traffic is for a few profiles and links.
pub(crate) fn body(number: u64, now: Timestamp) -> String {
    let dice = scatter(number);
    let profile = hot(dice, PROFILES);
    let link = hot(dice >> 20, LINKS);
    let visitor = scatter(dice) % 100_000;
    let (country, referrer) = PLACES[usize::try_from(dice >> 40).unwrap() % PLACES.len()];
    let (address, position, at) = (visitor % 250, link + 1, now.to_rfc3339());
    let session = scatter(visitor);
    let visit = if dice.is_multiple_of(5) {
        format!(r#""viewed_at":"{at}""#)
    } else {
        format!(r#""link_id":"link_{profile}_{link}","clicked_at":"{at}""#)
    };
    let event_type = if dice.is_multiple_of(5) { "profile.viewed" } else { "link.clicked" };
    format!(r#"{{"id":"evt_{number:020x}","type":"{event_type}","timestamp":"{at}","data":{{"#)
        + &format!(r#""profile_id":"prof_{profile}",{visit},"visitor_id":"vis_{visitor:x}","#)
        + &format!(r#""ip":"203.0.113.{address}","user_agent":"{AGENT}","country":"{country}","#)
        + &format!(r#""referrer":"{referrer}","device":"mobile","position":{position},"#)
        + &format!(r#""session":"{session:016x}{number:016x}","campaign":"autumn_launch","#)
        + r#""utm":{"source":"instagram","medium":"social","content":"bio_link_button"},"#
        + r#""experiment":"layout-b","language":"en-GB"}}"#
}

const AGENT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 \
                     (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1";
const PLACES: [(&str, &str); 6] = [
    ("DE", "https://www.instagram.com/"),
    ("US", "https://www.tiktok.com/"),
    ("FR", "direct"),
    ("GB", "https://t.co/abc"),
    ("BR", "https://www.youtube.com/"),
    ("IN", "https://l.facebook.com/"),
];

/// Zipf's law with exponent 1, about: the n-th is met 1/n as often as the first.
fn hot(dice: u64, count: u64) -> u64 {
    let unit = (dice & 0xf_ffff) as f64 / f64::from(0x10_0000);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to count")]
    let rank = ((count + 1) as f64).powf(unit) as u64 - 1;
    rank.min(count - 1)
}

/// `SplitMix64`: neighbours far apart.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A first number that no earlier run used.
pub(crate) fn fresh_numbers() -> u64 {
    u64::try_from(crate::harness::now().as_millis()).unwrap() << 20
}
