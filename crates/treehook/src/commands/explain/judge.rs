//! The verdict on a captured request: accepted, or every reason that can be found.

use secrecy::SecretString;
use treehook_event::{
    Claim, Context, Event, Found, Rejection, Scheme, Source, SourceName, Timestamp, TimestampPlace,
    parse, verify,
};

use super::capture::Capture;
use super::keys::{self, Secret};
use super::reason::Reason;
use super::search::{Hit, Search};
use super::{bodies, format, headers, templates};

/// What there is to judge by.
pub(super) struct Case {
    pub(super) capture: Capture,
    /// Whose delivery it is said to be.
    pub(super) source: Source,
    /// Its secrets, each by itself.
    pub(super) secrets: Vec<Secret>,
    /// The setting that holds them.
    pub(super) setting: Option<SecretString>,
    /// Every other source, and its secrets.
    pub(super) others: Vec<Source>,
    pub(super) foreign: Vec<Secret>,
    /// When it arrived.
    pub(super) at: Timestamp,
    /// Whether somebody said so.
    pub(super) at_is_given: bool,
    pub(super) context: Context,
    pub(super) max_body: usize,
}

/// What the receiver would answer, and why.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The `code` of the refusal; none when it is accepted.
    pub(super) code: Option<&'static str>,
    pub(super) reasons: Vec<Reason>,
    /// Which secret matched, when the signature holds.
    pub(super) secret: Option<usize>,
    pub(super) events: Vec<Event>,
}

/// Judges as the receiver does, then looks for the reasons.
pub(super) fn judge(case: &Case) -> Verdict {
    let mut verdict = at_the_door(case);
    let claim = Claim::read(&case.source.scheme, |name| case.capture.find(name));
    let verified =
        claim.and_then(|claim| verify(&case.source, &claim, &case.capture.body, case.at));
    let verified = match verified {
        Ok(verified) => verified,
        Err(rejection) => {
            verdict.code = verdict.code.or(Some(rejection.code()));
            verdict.reasons.extend(match rejection {
                Rejection::StaleTimestamp => age(case).into_iter().collect(),
                _ => unverified(case),
            });
            return verdict;
        }
    };
    verdict.secret = Some(verified.secret());
    match parse(&verified, &case.source, &case.context, case.at) {
        Ok(events) => verdict.events = events,
        Err(rejection) => {
            verdict.code = verdict.code.or(Some(rejection.code()));
            verdict.reasons.push(unparsed(&rejection));
        }
    }
    verdict
}

/// What is refused before anybody looks at the signature.
fn at_the_door(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let encoding = case.capture.values("content-encoding").next().unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
        verdict.code = Some("unsupported_encoding");
        verdict.reasons.push(Reason::new(
            "compressed_body",
            "`content-encoding` says that the body is compressed",
            "let the sender send it as it is; compressed bodies are refused",
        ));
    }
    let (length, limit) = (case.capture.body.len(), case.max_body);
    if length > limit {
        verdict.code = Some("payload_too_large");
        verdict.reasons.push(Reason::new(
            "body_too_large",
            format!("the body has {length} bytes, the limit is {limit}"),
            "raise TREEHOOK_MAX_BODY",
        ));
    }
    verdict
}

fn unparsed(rejection: &Rejection) -> Reason {
    match rejection {
        Rejection::StaleTimestamp => Reason::new(
            "expired_envelope",
            "the signature holds, but covers no timestamp, and the envelope is older than the \
             retention: it could be a replay that nobody remembers",
            "raise TREEHOOK_RETENTION if such old events are to be taken",
        ),
        other => Reason::new(
            "malformed_payload",
            format!("the signature holds; {other}"),
            "this sender's bodies are not envelopes of its platform: set `envelope` for this \
             source, or let the sender send one",
        ),
    }
}

/// Why the signature does not hold: what can be seen, then what can be tried.
fn unverified(case: &Case) -> Vec<Reason> {
    let scheme = &case.source.scheme;
    let mut reasons = headers::faults(scheme, &case.capture);
    let signatures = headers::signatures(scheme, &case.capture);
    if !matches!(case.capture.find(&scheme.signature_header), Found::Absent) {
        let first = signatures.first().copied().unwrap_or_default();
        reasons.extend(format::faults(scheme, first));
    }
    reasons.extend(keys::unusable(&case.secrets));
    if let Some(reason) = other_source(case) {
        reasons.push(reason);
        return reasons;
    }
    let macs: Vec<String> = signatures.iter().flat_map(|header| format::macs_in(header)).collect();
    if macs.is_empty() {
        return reasons;
    }
    let templates = templates::variants(scheme, &case.capture);
    let bodies = bodies::variants(&case.capture.body);
    let right = keys::right(&case.secrets);
    let further = keys::further(&case.secrets, &case.foreign, case.setting.as_ref());
    let search = Search {
        macs: &macs,
        templates: &templates,
        bodies: &bodies,
        right: &right,
        further: &further,
    };
    match search.run() {
        Some(hit) => {
            reasons.extend(of_hit(case, &hit));
            reasons.extend(age(case));
        }
        None => reasons.push(nothing_holds(case, right.len() + further.len())),
    }
    reasons
}

/// Whether it is a good delivery of somebody else.
fn other_source(case: &Case) -> Option<Reason> {
    let holds = |source: &Source| {
        let claim = Claim::read(&source.scheme, |name| case.capture.find(name)).ok()?;
        let timeless = Source { tolerance_seconds: u64::MAX, ..source.clone() };
        match verify(&timeless, &claim, &case.capture.body, case.at) {
            Ok(_) | Err(Rejection::StaleTimestamp) => Some(()),
            Err(_) => None,
        }
    };
    if let Some(other) = case.others.iter().find(|other| holds(other).is_some()) {
        return Some(Reason::new(
            "other_source",
            format!("it verifies as a delivery of the source `{}`", other.name),
            format!("let the sender post to /webhooks/{}", other.name),
        ));
    }
    let built_in = [
        ("linktree", Scheme::linktree()),
        ("dub", Scheme::dub()),
        ("standard", Scheme::standard()),
    ];
    built_in.into_iter().filter(|(_, scheme)| *scheme != case.source.scheme).find_map(
        |(name, scheme)| {
            let every = case
                .secrets
                .iter()
                .chain(&case.foreign)
                .cloned()
                .map(|secret| Secret { encoding: scheme.key_encoding, ..secret });
            let every: Vec<Secret> = every.collect();
            let keys = keys::right(&every).into_iter().map(|key| key.signing).collect();
            let source =
                Source { name: SourceName::trusted(name), scheme, keys, tolerance_seconds: 0 };
            holds(&source)?;
            Some(Reason::new(
                "other_scheme",
                format!("it verifies under the scheme `{name}` with a secret that is at hand"),
                format!("let the sender post to /webhooks/{name}, or set `scheme = \"{name}\"`"),
            ))
        },
    )
}

fn of_hit(case: &Case, hit: &Hit<'_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        keys::reason(hit.key, &format!("`{}`", case.source.name)).into_iter().collect();
    if let Some(template) = hit.template {
        reasons.push(of_template(&template.label));
    }
    if let Some(body) = hit.body {
        reasons.push(Reason::new(
            "body_changed",
            format!("the signature holds for the body {}: it was changed on the way", body.label),
            "find the hop that reads and rewrites bodies (a proxy, a gateway, the capture itself): \
             the body is signed byte for byte",
        ));
    }
    reasons
}

fn of_template(label: &str) -> Reason {
    if label == "`{body}`" {
        return Reason::new(
            "signed_without_timestamp",
            "the body alone is signed, without the timestamp",
            "let the sender sign the timestamp, or anybody can replay an old delivery; if it cannot: \
             `template = \"{body}\"` and `timestamp_header = \"\"` for this source",
        );
    }
    Reason::new(
        "other_template",
        format!("{label} is signed"),
        "set `template` for this source to what its sender signs, and the headers that it names",
    )
}

/// The signature holds; whether it is too old.
fn age(case: &Case) -> Option<Reason> {
    let scheme = &case.source.scheme;
    if scheme.timestamp == TimestampPlace::Nowhere {
        return None;
    }
    let text = templates::timestamp_of(scheme, &case.capture)?;
    let number = text.parse().ok().filter(|_| text.len() <= 13 && !text.starts_with(['+', '-']));
    let Some(number) = number else {
        return Some(Reason::new(
            "unreadable_timestamp",
            "the signed timestamp is no Unix time in seconds or milliseconds",
            "let the sender write Unix seconds",
        ));
    };
    let signed_at = Timestamp::from_number(number);
    let skew = case.at.as_seconds() - signed_at.as_seconds();
    let tolerance = case.source.tolerance_seconds;
    if skew.unsigned_abs() <= tolerance {
        return None;
    }
    let direction = if skew > 0 { "before" } else { "after" };
    let remedy = if case.at_is_given {
        "check NTP on both sides; for a sender that repeats its first timestamp on retries raise \
         `tolerance` for this source"
    } else {
        "a captured request grows old: say with --at when it arrived"
    };
    let seconds = skew.unsigned_abs();
    Some(Reason::new(
        "stale_timestamp",
        format!(
            "the signature holds, and was made {seconds} s {direction} the request arrived; \
             {tolerance} s are tolerated"
        ),
        remedy,
    ))
}

fn nothing_holds(case: &Case, keys: usize) -> Reason {
    let body = &case.capture.body;
    let length = case.capture.values("content-length").next();
    let length = length.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    if let Some(length) = length.filter(|length: &usize| *length != body.len()) {
        return Reason::new(
            "body_length",
            format!("the body has {} bytes, `content-length` says {length}", body.len()),
            "capture the body whole, byte for byte",
        );
    }
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok();
    let hint = if is_json { "" } else { " (it is no JSON: was it cut?)" };
    Reason::new(
        "wrong_secret",
        format!("nothing verifies: {keys} keys were tried, and other templates and bodies"),
        format!(
            "the sender has another secret: copy it again from there; or the body was changed \
             beyond what can be undone{hint}"
        ),
    )
}
