//! `report`: what the read API answers, for people, programs and spreadsheets.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;
use treehook_console::Access;
use treehook_event::{EventStore as _, ProfileId};

use super::table::{Table, shortened};
use super::{opened, print};
use crate::Trouble;
use crate::admin;
use crate::cli::{Format, Report};
use crate::config::Mistakes;
use crate::store::Store;
use crate::vitals::Vitals;

/// Largest answer, in bytes: 10,000 links take about 3 MB.
const ANSWER_MAX: usize = 64 << 20;
/// Profiles read at once.
const PAGE: u32 = 500;
/// Rows of a ranking in the table; JSON and CSV have all of them.
const TOP: usize = 10;
/// Width of the longest bar, in characters.
const BAR: usize = 16;

/// How often a watched report is printed anew.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Clears a terminal and goes to its first line (ECMA-48).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

pub(super) async fn report(args: Report) -> Result<(), Trouble> {
    let (_, store) = opened(&args.shared).await?;
    let reader = Reader::over(store);
    let mut tick = tokio::time::interval(WATCH_EVERY);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c(), if args.watch => return Ok(()),
            _ = tick.tick() => (),
        }
        let text = match &args.profile {
            Some(profile) => reader.profile(profile, &args).await?,
            None => reader.all(&args).await?,
        };
        if args.watch && std::io::stdout().is_terminal() {
            print(CLEAR)?;
        }
        print(&text)?;
        if !args.watch {
            return Ok(());
        }
    }
}

/// Reads reports the way everybody does: through the API's own routes, without a listener. So what
/// is printed is what the API answers.
pub(super) struct Reader {
    store: Store,
    api: axum::Router,
}

impl Reader {
    pub(super) fn over(store: Store) -> Self {
        let api = admin::console(store.clone(), Access::Open, Vitals::none());
        Self { store, api }
    }

    /// One profile.
    pub(super) async fn profile(&self, profile: &str, args: &Report) -> Result<String, Trouble> {
        match args.format {
            Format::Json => self.document(profile, args, "json").await.map(|text| text + "\n"),
            Format::Csv => self.document(profile, args, "csv").await,
            Format::Table => {
                let text = self.document(profile, args, "json").await?;
                table(&serde_json::from_str(&text).map_err(anyhow::Error::from)?)
            }
        }
    }

    /// Every profile: a summary for people, else each one's document.
    pub(super) async fn all(&self, args: &Report) -> Result<String, Trouble> {
        let mut documents = Vec::new();
        let mut after: Option<ProfileId> = None;
        loop {
            let page = self.store.profiles(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.profile_id.clone());
            for profile in &page {
                let format = if args.format == Format::Csv { "csv" } else { "json" };
                documents.push(self.document(profile.profile_id.as_str(), args, format).await?);
            }
        }
        match args.format {
            Format::Json => Ok(format!("[{}]\n", documents.join(","))),
            Format::Csv => Ok(joined(&documents)),
            Format::Table => summary(&documents),
        }
    }

    async fn document(
        &self,
        profile: &str,
        args: &Report,
        format: &str,
    ) -> Result<String, Trouble> {
        let mut url = url::Url::parse("http://localhost/").map_err(anyhow::Error::from)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(["api", "v1", "profiles", profile, "report"]);
        }
        for (name, value) in [("period", &args.period), ("from", &args.from), ("to", &args.to)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url.query_pairs_mut().append_pair("format", format);
        let target = &url[url::Position::BeforePath..];
        let request = Request::get(target)
            .header("host", "localhost")
            .body(Body::empty())
            .map_err(anyhow::Error::from)?;
        let answer = self.api.clone().oneshot(request).await.map_err(anyhow::Error::from)?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), ANSWER_MAX).await.map_err(anyhow::Error::from)?;
        let text = String::from_utf8(body.to_vec()).map_err(anyhow::Error::from)?;
        if status.is_success() { Ok(text) } else { Err(refused(status.as_u16(), &text)) }
    }
}

/// A problem document as this command's own error.
fn refused(status: u16, text: &str) -> Trouble {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("the report cannot be made").to_owned();
    if status == 400 { Trouble::Usage(Mistakes::one(detail)) } else { Trouble::Failed(detail) }
}

/// The documents one after the other, with one head.
fn joined(documents: &[String]) -> String {
    let mut text = String::new();
    for (position, document) in documents.iter().enumerate() {
        let body = if position == 0 {
            document.as_str()
        } else {
            document.split_once('\n').map_or("", |(_, rest)| rest)
        };
        text.push_str(body);
    }
    text
}

fn summary(documents: &[String]) -> Result<String, Trouble> {
    if documents.is_empty() {
        return Ok("no profile has had an event yet\n".to_owned());
    }
    let heads = ["profile", "views", "clicks", "ctr", "visitors", "top link"];
    let mut table = Table::new(&heads).numbers(&[1, 2, 3, 4]);
    for document in documents {
        let report: Value = serde_json::from_str(document).map_err(anyhow::Error::from)?;
        table.row(&[
            &text_of(&report["profile_id"]),
            &text_of(&report["views"]),
            &text_of(&report["clicks"]),
            &percent(&report["ctr"]),
            &text_of(&report["unique_visitors"]),
            &link_name(&report["top_link"]),
        ]);
    }
    Ok(table.to_string())
}

fn table(report: &Value) -> Result<String, Trouble> {
    let mut out = String::new();
    let put = |out: &mut String, text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).map_err(|error| Trouble::from(anyhow::Error::from(error)))
    };
    let (from, to) = (text_of(&report["start_date"]), text_of(&report["end_date"]));
    put(&mut out, format_args!("{}, {from} to {to} (UTC)\n\n", text_of(&report["profile_id"])))?;
    let mut figures =
        Table::new(&["views", "clicks", "ctr", "unique visitors"]).numbers(&[0, 1, 2, 3]);
    figures.row(&[
        &text_of(&report["views"]),
        &text_of(&report["clicks"]),
        &percent(&report["ctr"]),
        &text_of(&report["unique_visitors"]),
    ]);
    put(&mut out, format_args!("{figures}\n"))?;
    let links = rows(&report["links"]);
    let most = links.first().and_then(|link| link["clicks"].as_u64()).unwrap_or(0);
    let mut ranked = Table::new(&["link", "clicks", "", "visitors", "ctr"]).numbers(&[1, 3, 4]);
    for link in links.iter().take(TOP) {
        let clicks = link["clicks"].as_u64().unwrap_or(0);
        ranked.row(&[
            &shortened(&link_name(link), 28),
            &clicks.to_string(),
            &bar(clicks, most),
            &text_of(&link["unique_visitors"]),
            &percent(&link["ctr"]),
        ]);
    }
    put(&mut out, format_args!("{ranked}\n"))?;
    put(&mut out, format_args!("{}\n", audience(report)))?;
    Ok(out)
}

fn audience(report: &Value) -> Table {
    let mut table =
        Table::new(&["country", "clicks", "referrer", "visits", "device", "%"]).numbers(&[1, 3, 5]);
    let (locations, referrers) = (rows(&report["locations"]), rows(&report["referrers"]));
    let devices = ["mobile", "desktop", "tablet", "unknown"];
    let count = locations.len().max(referrers.len()).max(devices.len()).min(TOP);
    let cell = |rows: &[Value], at: usize, key: &str| {
        rows.get(at).map_or_else(String::new, |row| text_of(&row[key]))
    };
    for at in 0..count {
        let device = devices.get(at).copied().unwrap_or_default();
        let share = report["devices"][device].as_f64().map(|pct| format!("{pct:.1}"));
        table.row(&[
            &cell(locations, at, "country"),
            &cell(locations, at, "clicks"),
            &shortened(&cell(referrers, at, "source"), 26),
            &cell(referrers, at, "visits"),
            device,
            &share.unwrap_or_default(),
        ]);
    }
    table
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn percent(ratio: &Value) -> String {
    ratio.as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
}

fn link_name(link: &Value) -> String {
    let name = link["title"].as_str().filter(|title| !title.is_empty());
    let name = name.map_or_else(|| text_of(&link["link_id"]), str::to_owned);
    if link["deleted"] == Value::Bool(true) { format!("{name} (deleted)") } else { name }
}

fn bar(clicks: u64, most: u64) -> String {
    let share = u128::from(clicks) * BAR as u128 / u128::from(most.max(1));
    "█".repeat(usize::try_from(share).unwrap_or(BAR).min(BAR))
}
