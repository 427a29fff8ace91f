//! `explain`: why a captured request is refused.

mod bodies;
mod capture;
mod format;
mod headers;
mod json_layout;
mod judge;
mod keys;
mod reason;
mod search;
mod templates;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;
use serde_json::{Value, json};
use treehook_event::{Context, Event, Scheme, Source, SourceName, VisitorKey};

use super::print;
use super::simulate::usage;
use super::table::Table;
use crate::Trouble;
use crate::cli::Explain;
use crate::clock;
use crate::config::{self, Config, Environment, Written};
use capture::{Capture, header_of, headers_of};
use judge::{Case, Verdict, judge};
use keys::{Secret, secrets_of};

/// Largest body that is looked at: the largest that can be configured.
const BODY_MAX: u64 = 8 << 20;
/// Largest file of headers: far more than any server takes.
const HEADERS_MAX: u64 = 1 << 20;

/// Exit code 1 if it is refused.
pub(super) fn explain(args: &Explain) -> Result<(), Trouble> {
    let environment = config::environment()?;
    let config = Config::load(&args.flags(), &environment)?;
    let written = config::secrets(&args.flags(), &environment);
    let source = source(args, &environment, &config)?;
    let case = case(args, source, &config, &written)?;
    let verdict = judge(&case);
    let retention_ms = config.retention_ms();
    if args.json {
        print(&format!("{}\n", as_json(&case, &verdict, retention_ms)))?;
    } else {
        print(&as_text(&case, &verdict, retention_ms).map_err(anyhow::Error::from)?)?;
    }
    if verdict.code.is_none() { Ok(()) } else { Err(Trouble::Found) }
}

fn case(
    args: &Explain,
    mut source: Source,
    config: &Config,
    written: &[Written],
) -> Result<Case, Trouble> {
    let setting = match &args.secret {
        Some(secret) => Some(SecretString::from(secret.as_str())),
        None => written
            .iter()
            .find(|written| written.source == source.name.as_str())
            .map(|written| written.value.clone()),
    };
    let Some(setting) = setting else {
        return Err(usage(format!("--secret is needed: none is configured for `{}`", source.name)));
    };
    let whose = if args.secret.is_some() { "--secret".to_owned() } else { named(&source.name) };
    let secrets = secrets_of(&setting, &whose, source.scheme.key_encoding);
    source.keys = keys::right(&secrets).into_iter().map(|key| key.signing).collect();
    let others: Vec<Source> =
        config.sources.iter().filter(|other| other.name != source.name).cloned().collect();
    let foreign = foreign(written, config, &source.name, args.secret.is_some());
    Ok(Case {
        capture: capture(args)?,
        secrets,
        setting: Some(setting),
        others,
        foreign,
        at: args.at.unwrap_or_else(clock::now),
        at_is_given: args.at.is_some(),
        context: Context {
            // Pseudonyms are not shown, so any key will do.
            visitors: VisitorKey::new(&[0; 16]).expect("16 bytes are a key"),
            personal: config.personal_keys.clone(),
            dedupe_window_ms: config.retention_ms(),
        },
        max_body: config.max_body,
        source,
    })
}

fn named(source: &SourceName) -> String {
    format!("`{source}`")
}

/// Whose delivery it is said to be. Its keys come later.
fn source(args: &Explain, environment: &Environment, config: &Config) -> Result<Source, Trouble> {
    let tolerance_seconds = config::tolerance_seconds(&args.flags(), environment);
    let bare = |name: &str, scheme| {
        let name = SourceName::trusted(name);
        Source { name, scheme, keys: Vec::new(), tolerance_seconds }
    };
    if let Some(scheme) = &args.scheme.scheme {
        let spelled = config::scheme_of(&args.scheme.table(), "--scheme")?;
        return Ok(bare(scheme, spelled));
    }
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let known = if names.is_empty() { "none has a secret".to_owned() } else { names.join(", ") };
    let Some(name) = args.source.as_deref() else {
        return match &config.sources[..] {
            [only] => Ok(only.clone()),
            _ => Err(usage(format!("--source or --scheme is needed; sources: {known}"))),
        };
    };
    let found = config.sources.iter().find(|source| source.name.as_str() == name).cloned();
    let built_in = match name {
        "linktree" => Some(Scheme::linktree()),
        "dub" => Some(Scheme::dub()),
        "standard" => Some(Scheme::standard()),
        _ => None,
    };
    // With a secret at hand a built-in source need not be configured.
    let built_in = built_in.filter(|_| args.secret.is_some()).map(|scheme| bare(name, scheme));
    found
        .or(built_in)
        .ok_or_else(|| usage(format!("--source: `{name}` is not configured; sources: {known}")))
}

/// The configured secrets that are not the source's own.
fn foreign(
    written: &[Written],
    config: &Config,
    own: &SourceName,
    secret_is_given: bool,
) -> Vec<Secret> {
    let others = written.iter().filter(|w| secret_is_given || w.source != own.as_str());
    others
        .filter_map(|written| {
            let source = config.sources.iter().find(|s| s.name.as_str() == written.source)?;
            let encoding = source.scheme.key_encoding;
            Some(secrets_of(&written.value, &named(&source.name), encoding))
        })
        .flatten()
        .collect()
}

fn capture(args: &Explain) -> Result<Capture, Trouble> {
    let body = read(&args.body, BODY_MAX, "--body")?;
    let mut headers = match &args.headers {
        Some(path) => headers_of(&read(path, HEADERS_MAX, "--headers")?)
            .map_err(|problem| usage(format!("--headers: {problem}")))?,
        None => Vec::new(),
    };
    for (index, line) in args.header.iter().enumerate() {
        // Without the line itself: it may hold a token.
        let unreadable = || usage(format!("--header {}: expected `Name: value`", index + 1));
        headers.push(header_of(line.as_bytes()).ok_or_else(unreadable)?);
    }
    Ok(Capture::new(headers, body))
}

fn read(path: &Path, limit: u64, flag: &str) -> Result<Vec<u8>, Trouble> {
    let cannot = |error: std::io::Error| usage(format!("{flag}: {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(usage(format!("{flag}: {} has more than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// What becomes of an event once it is accepted.
fn fate(event: &Event, case: &Case, retention_ms: i64) -> String {
    let dead = event.unfit(case.at, retention_ms);
    dead.map_or_else(|| "counted".to_owned(), |reason| format!("dead letter: {reason}"))
}

fn as_json(case: &Case, verdict: &Verdict, retention_ms: i64) -> Value {
    let reasons: Vec<Value> = verdict
        .reasons
        .iter()
        .map(|reason| json!({"reason": reason.name, "what": reason.what, "remedy": reason.remedy}))
        .collect();
    let events: Vec<Value> = verdict
        .events
        .iter()
        .map(|event| {
            json!({
                "id": event.identity.as_str(),
                "type": event.event_type(),
                "outcome": fate(event, case, retention_ms),
            })
        })
        .collect();
    json!({
        "accepted": verdict.code.is_none(),
        "source": case.source.name.as_str(),
        "code": verdict.code,
        "secret": verdict.secret,
        "reasons": reasons,
        "events": events,
    })
}

fn as_text(case: &Case, verdict: &Verdict, retention_ms: i64) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let source = &case.source.name;
    match (verdict.code, verdict.secret) {
        (Some(code), _) => writeln!(text, "`{source}` refuses it: {code}")?,
        (None, secret) => {
            let (count, secret) = (verdict.events.len(), secret.unwrap_or_default());
            writeln!(text, "`{source}` accepts it: {count} events, signed with secret {secret}")?;
        }
    }
    for reason in &verdict.reasons {
        writeln!(text, "\n{}: {}\n  remedy: {}", reason.name, reason.what, reason.remedy)?;
    }
    if !verdict.events.is_empty() {
        let mut table = Table::new(&["id", "type", "what becomes of it"]);
        for event in &verdict.events {
            let fate = fate(event, case, retention_ms);
            table.row(&[event.identity.as_str(), event.event_type(), &fate]);
        }
        write!(text, "\n{table}")?;
    }
    Ok(text)
}
