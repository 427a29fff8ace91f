//! `debug-bundle`: packs what whoever helps needs to see, without a secret and without a person in it.

mod archive;
mod redact;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::doctor::{self, Answers, Finding, as_text, examine};
use super::print;
use super::simulate::usage;
use crate::Trouble;
use crate::cli::DebugBundle;
use crate::clock;
use crate::config::{self, LogFormat, Setting};
use crate::telemetry;
use archive::Archive;
use redact::Redactor;

/// How much of the log's end is taken along.
const LOG_BYTES_MAX: u64 = 2 << 20;

pub(super) async fn debug_bundle(args: &DebugBundle) -> Result<(), Trouble> {
    telemetry::start_log("error", LogFormat::Auto);
    let environment = config::environment()?;
    let flags = args.flags();
    let redactor = Redactor::new(config::secret_values(&flags, &environment));
    // First of all: a wrong path should not cost anybody the wait for the rest.
    let log = args.log.as_deref().map(|path| end_of(path).map(|end| lines(&redactor, &end)));
    let log = log.transpose()?;
    let settings = config::settings(&flags, &environment);
    let examination = examine(&flags, &environment).await;

    let now = clock::now();
    let stamp = now.to_rfc3339()[..19].replace(':', "-");
    let folder = format!("treehook-debug-{stamp}");
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
    let mut parts = vec![
        ("about.json", about(&now.to_rfc3339())),
        ("configuration.txt", configuration(&redactor, &settings)?),
        ("doctor.txt", findings(&redactor, &examination.findings)?),
        ("doctor.json", pretty(&redactor.value(doctor::as_json(&examination.findings)))?),
    ];
    parts.extend(answers(&redactor, examination.answers));
    parts.extend(log.map(|text| ("log.txt", text)));

    let seconds = u64::try_from(now.as_seconds()).unwrap_or(0);
    let cannot = |error: std::io::Error| {
        Trouble::Failed(format!("{} cannot be written: {error}", path.display()))
    };
    let mut archive = Archive::create(&path, &folder, seconds).map_err(cannot)?;
    for (name, content) in &parts {
        archive.add(name, content).map_err(cannot)?;
    }
    archive.finish().map_err(cannot)?;
    let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    print(&format!(
        "{}\n  holds {}\n  Secrets, addresses and persons are taken out; read it before it leaves \
         this machine.\n",
        path.display(),
        names.join(", ")
    ))
}

fn about(made_at: &str) -> String {
    let about = json!({
        "treehook": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "made_at": made_at,
    });
    format!("{about:#}\n")
}

fn pretty(value: &Value) -> Result<String, Trouble> {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    Ok(format!("{text}\n"))
}

fn configuration(redactor: &Redactor, settings: &[Setting]) -> Result<String, Trouble> {
    let mut text = String::new();
    for Setting { name, origin, value } in settings {
        let (origin, value) = (redactor.text(origin), redactor.text(value));
        writeln!(text, "{name} = {value}    # {origin}").map_err(anyhow::Error::from)?;
    }
    Ok(text)
}

fn findings(redactor: &Redactor, findings: &[Finding]) -> Result<String, Trouble> {
    let text = as_text(findings).map_err(anyhow::Error::from)?;
    Ok(lines(redactor, &text))
}

/// What a running treehook answered. Its metrics have labels of ours and numbers, and no more.
fn answers(redactor: &Redactor, answers: Answers) -> Vec<(&'static str, String)> {
    let json = |text: String| redactor.line(text.trim());
    [
        ("metrics.txt", answers.metrics),
        ("readyz.json", answers.ready.map(json)),
        ("status.json", answers.status.map(json)),
    ]
    .into_iter()
    .filter_map(|(name, content)| Some((name, content?)))
    .collect()
}

/// The end of a file, from the first whole line on.
fn end_of(path: &Path) -> Result<String, Trouble> {
    let cannot = |error: std::io::Error| usage(format!("--log: {}: {error}", path.display()));
    let mut file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let start = length.saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(start)).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes).map_err(cannot)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // A line that was cut could be cut through a secret that is then not known again.
    let whole = if start > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    Ok(whole.to_owned())
}

fn lines(redactor: &Redactor, text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    for line in text.lines() {
        redacted.push_str(&redactor.line(line));
        redacted.push('\n');
    }
    redacted
}
