//! The report: everything that is known of a profile over a period, in one document.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;
use treehook_event::{
    Analytics, EventStore, Granularity, Hour, LinkReport, LinkSort, Period, ProfileSummary,
};

use crate::answers::{CutAudience, GivenId, LIST, MilestoneAnswer, PAGE, ProfileAnswer};
use crate::answers::{cut, profile_of};
use crate::console::Console;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::spreadsheet;

/// What `metrics` may name; whatever else a report holds says what it is about, and stays.
const METRICS: [&str; 11] = [
    "views",
    "clicks",
    "ctr",
    "unique_visitors",
    "series",
    "top_link",
    "links",
    "locations",
    "referrers",
    "devices",
    "milestones",
];
/// What goes together with a metric that is left out.
const COMPANIONS: [(&str, &str); 3] =
    [("links_total", "links"), ("locations_total", "locations"), ("referrers_total", "referrers")];

/// The document.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) analytics: Analytics,
    profile: ProfileAnswer,
    /// The first UTC day.
    pub(crate) start_date: String,
    /// The last UTC day, itself included.
    pub(crate) end_date: String,
    /// The link with the most clicks; null when nobody clicked.
    top_link: Option<LinkReport>,
    links_total: usize,
    pub(crate) links: Vec<LinkReport>,
    #[serde(flatten)]
    pub(crate) audience: CutAudience,
    pub(crate) milestones: Vec<MilestoneAnswer>,
}

/// What a report is asked for.
struct Asked {
    period: Period,
    granularity: Granularity,
    limit: u32,
    metrics: Metrics,
    format: Format,
}

enum Format {
    Json,
    Csv,
}

/// Which metrics a report shows: all, or those that were named.
pub(crate) struct Metrics(Option<Vec<String>>);

impl Metrics {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self(None)) };
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().all(|name| METRICS.contains(&name.as_str())) {
            Ok(Self(Some(names)))
        } else {
            let known = format!("use any of {}, with commas between", METRICS.join(", "));
            Err(Problem::invalid_parameter("metrics", &known))
        }
    }

    pub(crate) fn show(&self, metric: &str) -> bool {
        self.0.as_ref().is_none_or(|named| named.iter().any(|name| name == metric))
    }
}

/// `GET /api/v1/profiles/{id}/report`
pub(crate) async fn report<S: EventStore + 'static>(
    State(console): State<Arc<Console<S>>>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = read(query.as_deref(), &console)?;
    let profile = profile_of(&console.store, id).await?;
    let report = gather(&console.store, profile, &asked).await?;
    match asked.format {
        Format::Json => Ok(Json(shown(&report, &asked.metrics)).into_response()),
        Format::Csv => Ok(download(&report, &asked.metrics)),
    }
}

fn read<S>(query: Option<&str>, console: &Console<S>) -> Result<Asked, Problem> {
    let known = ["period", "from", "to", "granularity", "metrics", "limit", "format"];
    let given = Parameters::read(query, &known)?;
    Ok(Asked {
        period: given.period((console.now)())?,
        granularity: given.granularity()?,
        limit: given.limit(LIST, console.limits.list_max)?,
        metrics: Metrics::read(given.get("metrics"))?,
        format: match given.get("format") {
            None | Some("json") => Format::Json,
            Some("csv") => Format::Csv,
            Some(_) => return Err(Problem::invalid_parameter("format", "use json or csv")),
        },
    })
}

/// One query after the other: a report is never in a hurry, and never takes more than one of the
/// store's connections.
async fn gather<S: EventStore>(
    store: &S,
    profile: ProfileSummary,
    asked: &Asked,
) -> Result<Report, Problem> {
    let (id, period) = (&profile.profile_id, asked.period);
    let (first, end) = period.days();
    let hours = store.hours(id, period.from, period.to).await?;
    let visitors = store.profile_visitors(id, first, end).await?;
    let totals = store.link_totals(id, period.from, period.to).await?;
    let link_visitors = store.link_visitors(id, first, end).await?;
    let audience = treehook_event::audience(&store.audience(id, first, end).await?);
    let milestones = store.milestones(id, PAGE).await?;

    let analytics = treehook_event::analytics(id, period, asked.granularity, &hours, &visitors);
    let mut links =
        treehook_event::links(totals, link_visitors, analytics.views, LinkSort::ClicksDesc);
    let links_total = links.len();
    cut(&mut links, asked.limit);
    Ok(Report {
        analytics,
        start_date: period.from.day().to_iso(),
        end_date: Hour(period.to.0 - 1).day().to_iso(),
        top_link: links.first().filter(|link| link.clicks > 0).cloned(),
        links_total,
        links,
        audience: CutAudience::of(audience, asked.limit),
        milestones: milestones.into_iter().map(MilestoneAnswer::from).collect(),
        profile: profile.into(),
    })
}

fn shown(report: &Report, metrics: &Metrics) -> Value {
    let mut document = serde_json::to_value(report).expect("a report has only text as keys");
    if let Value::Object(members) = &mut document {
        members.retain(|name, _| {
            let companion = COMPANIONS.iter().find(|(companion, _)| *companion == name.as_str());
            let metric = companion.map_or(name.as_str(), |(_, metric)| *metric);
            !METRICS.contains(&metric) || metrics.show(metric)
        });
    }
    document
}

fn download(report: &Report, metrics: &Metrics) -> Response {
    // Without the profile's id: file names are no place for strangers' text.
    let name =
        format!("attachment; filename=\"treehook-{}-{}.csv\"", report.start_date, report.end_date);
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    (headers, spreadsheet::write(report, metrics)).into_response()
}
