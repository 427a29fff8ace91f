//! Which bytes around the body the sender may have signed.

use treehook_event::{Part, Scheme, TimestampPlace};

use super::capture::Capture;

/// What senders sign, in use somewhere.
const KNOWN: [&str; 11] = [
    "{body}",
    "{timestamp}{body}",
    "{timestamp}.{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{body}{timestamp}",
    "{body}.{timestamp}",
    "{id}.{body}",
    "{id}.{timestamp}.{body}",
    "{id}{timestamp}{body}",
    "{timestamp}.{id}.{body}",
];
/// Timestamps and ids that are tried, at most: every one multiplies the work.
const TIMESTAMPS_MAX: usize = 4;
const IDS_MAX: usize = 3;

/// What may have been signed: the values of the request are in it already, as literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// As "`{timestamp}{body}`".
    pub(super) label: String,
    pub(super) parts: Vec<Part>,
}

/// A value from the request, and what is said of it in a label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    text: String,
    note: String,
}

/// The scheme's own template, first, and every other that the request's headers allow. No two sign
/// the same bytes.
pub(super) fn variants(scheme: &Scheme, capture: &Capture) -> Vec<Template> {
    let own_timestamp = timestamp_of(scheme, capture);
    let timestamps = timestamps(own_timestamp.as_deref(), capture);
    let ids = ids(scheme, capture);
    let as_configured = Template {
        label: "as configured".to_owned(),
        parts: filled(
            &scheme.template,
            own_timestamp.as_deref().unwrap_or_default(),
            scheme.id_header.as_ref().and(ids.first()).map_or("", |id| &id.text),
        ),
    };
    let mut templates = vec![as_configured];
    for known in KNOWN {
        let parts = Scheme::parse_template(known).expect("every known template parses");
        let timestamps = needed(&parts, &Part::Timestamp, &timestamps);
        let ids = needed(&parts, &Part::Id, &ids);
        for timestamp in &timestamps {
            for id in &ids {
                let parts = filled(&parts, &timestamp.text, &id.text);
                if templates.iter().all(|template| template.parts != parts) {
                    let label = format!("`{known}`{}{}", timestamp.note, id.note);
                    templates.push(Template { label, parts });
                }
            }
        }
    }
    templates
}

/// The signed timestamp, as the request spells it.
pub(super) fn timestamp_of(scheme: &Scheme, capture: &Capture) -> Option<String> {
    let value = match &scheme.timestamp {
        TimestampPlace::Nowhere => None,
        TimestampPlace::Header(name) => capture.values(name).next(),
        TimestampPlace::SignatureElement(prefix) => {
            let header = capture.values(&scheme.signature_header).next()?;
            header
                .split(|byte| scheme.separator.is_some_and(|s| char::from(*byte) == s))
                .find_map(|element| element.trim_ascii().strip_prefix(prefix.as_bytes()))
        }
    };
    std::str::from_utf8(value?.trim_ascii()).ok().map(str::to_owned)
}

fn timestamps(own: Option<&str>, capture: &Capture) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    let mut add = |text: String, note: String| {
        if values.len() < TIMESTAMPS_MAX && values.iter().all(|known| known.text != text) {
            values.push(Value { text, note });
        }
    };
    let of_others = capture.named(|name| name.ends_with("timestamp"));
    let of_others = of_others.filter_map(|(name, value)| {
        let text = std::str::from_utf8(value).ok()?;
        Some((text.to_owned(), format!(" with `{name}`")))
    });
    let own = own.map(|text| (text.to_owned(), String::new()));
    for (text, note) in own.into_iter().chain(of_others) {
        if let Ok(number) = text.parse::<i64>() {
            add(text, note.clone());
            if number > 100_000_000_000 {
                add((number / 1000).to_string(), format!("{note} in seconds"));
            } else {
                add(number.saturating_mul(1000).to_string(), format!("{note} in milliseconds"));
            }
        } else {
            add(text, note);
        }
    }
    values
}

fn ids(scheme: &Scheme, capture: &Capture) -> Vec<Value> {
    let own = scheme.id_header.as_deref();
    let of_own = capture.named(|name| Some(name) == own);
    let of_others = capture.named(|name| Some(name) != own && name.ends_with("-id"));
    of_own
        .chain(of_others)
        .filter_map(|(name, value)| {
            let note =
                if Some(name) == own { String::new() } else { format!(" with `{name}` as the id") };
            Some(Value { text: std::str::from_utf8(value).ok()?.to_owned(), note })
        })
        .take(IDS_MAX)
        .collect()
}

/// The values to put in, or an empty one where the template has no place for any.
fn needed(parts: &[Part], part: &Part, values: &[Value]) -> Vec<Value> {
    if parts.contains(part) {
        values.to_vec()
    } else {
        vec![Value { text: String::new(), note: String::new() }]
    }
}

/// Neighbouring literals become one, so that the same bytes are the same parts.
fn filled(parts: &[Part], timestamp: &str, id: &str) -> Vec<Part> {
    let mut filled: Vec<Part> = Vec::new();
    for part in parts {
        let text = match part {
            Part::Body => {
                filled.push(Part::Body);
                continue;
            }
            Part::Literal(text) => text,
            Part::Timestamp => timestamp,
            Part::Id => id,
        };
        match filled.last_mut() {
            Some(Part::Literal(before)) => before.push_str(text),
            _ if text.is_empty() => (),
            _ => filled.push(Part::Literal(text.to_owned())),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::super::capture::headers_of;
    use super::*;

    fn capture(headers: &str) -> Capture {
        Capture::new(headers_of(headers.as_bytes()).unwrap(), Vec::new())
    }

    #[test]
    fn the_configured_template_comes_first_and_no_other_repeats_it() {
        let capture = capture("x-linktree-timestamp: 1700000000\nx-request-id: r1");
        let templates = variants(&Scheme::linktree(), &capture);
        assert_eq!(templates[0].parts, [Part::Literal("1700000000.".into()), Part::Body]);
        let labels: Vec<&str> = templates.iter().map(|template| template.label.as_str()).collect();
        assert!(!labels.contains(&"`{timestamp}.{body}`"), "{labels:?}");
        for label in [
            "`{body}`",
            "`{timestamp}{body}`",
            "`{timestamp}.{body}` in milliseconds",
            "`{id}.{timestamp}.{body}` with `x-request-id` as the id",
        ] {
            assert!(labels.contains(&label), "{label}: {labels:?}");
        }
    }

    #[test]
    fn the_signed_timestamp_is_found_where_the_scheme_has_it() {
        let element = Scheme {
            timestamp: TimestampPlace::SignatureElement("t=".into()),
            separator: Some(','),
            ..Scheme::dub()
        };
        for (scheme, headers, want) in [
            (Scheme::linktree(), "x-linktree-timestamp: 17", Some("17")),
            (Scheme::linktree(), "webhook-timestamp: 17", None),
            (Scheme::dub(), "webhook-timestamp: 17", None),
            (element, "dub-signature: v1=ab, t=17", Some("17")),
        ] {
            assert_eq!(timestamp_of(&scheme, &capture(headers)).as_deref(), want, "{headers}");
        }
    }
}
