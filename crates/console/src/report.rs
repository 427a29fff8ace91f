//! The report: everything that is known of a profile over a period, in one document.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;
use treehook_event::{EventStore, Hour, LinkSort, ProfileSummary, Timestamp};
use utoipa::ToSchema;

use crate::answers::Analytics;
use crate::audience::{self, Audience};
use crate::console::Console;
use crate::figures::{self, RankedLink, Span};
use crate::fresh::keep_for;
use crate::parameters::{Fineness, Parameters, WHEN, When};
use crate::problem::Problem;
use crate::profiles::{GivenId, KnownProfile, Milestone, PAGE, Shared, cut, profile_of};
use crate::spreadsheet;
use crate::window::{Window, series};

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
const COMPANIONS: [(&str, &str); 5] = [
    ("links_total", "links"),
    ("locations_total", "locations"),
    ("referrers_total", "referrers"),
    ("unique_visitors_from", "unique_visitors"),
    ("unique_visitors_to", "unique_visitors"),
];

/// Everything that is known of a profile over a period. `metrics` leaves out what it does not name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) analytics: Analytics,
    profile: KnownProfile,
    /// The first day.
    #[schema(format = "date")]
    pub(crate) start_date: String,
    /// The last day, itself included.
    #[schema(format = "date")]
    pub(crate) end_date: String,
    /// The link with the most clicks; null when nobody clicked.
    top_link: Option<RankedLink>,
    /// How many links there are, those that `limit` cut off included.
    links_total: usize,
    /// Most clicked first.
    pub(crate) links: Vec<RankedLink>,
    #[serde(flatten)]
    pub(crate) audience: Audience,
    /// Latest first.
    pub(crate) milestones: Vec<Milestone>,
}

/// What a report is asked for.
struct Asked {
    window: Window,
    cuts: Vec<Hour>,
    limit: u32,
    metrics: Metrics,
    format: Format,
}

/// How a report is written.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
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

/// All of it in one document
#[utoipa::path(
    get, path = "/api/v1/profiles/{id}/report", operation_id = "getReport",
    params(
        ("id" = String, Path, min_length = 1), When,
        ("granularity" = inline(Option<Fineness>), Query, description = "hourly for `last_24_hours`, else daily"),
        ("metrics" = Option<String>, Query, pattern = "^ *(views|clicks|ctr|unique_visitors|series|top_link|links|locations|referrers|devices|milestones) *(, *(views|clicks|ctr|unique_visitors|series|top_link|links|locations|referrers|devices|milestones) *)*$", description = "Only these, with commas between: any of views, clicks, ctr, unique_visitors, series, top_link, links, locations, referrers, devices, milestones"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "10000 in each list without it"),
        ("format" = inline(Option<Format>), Query, description = "json without it"),
    ),
    responses((status = 200, description = "The report", content(
        (Report = "application/json"),
        (String = "text/csv"),
    ))),
)]
pub(crate) async fn report<S: EventStore + 'static>(
    State(console): Shared<S>,
    id: GivenId,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = (console.now)();
    let asked = read(query.as_deref(), &console, now)?;
    let profile = profile_of(&console.store, id).await?;
    let report = gather(&console.store, profile, &asked).await?;
    let kept = keep_for(asked.window.fresh_seconds(now));
    match asked.format {
        Format::Json => Ok((kept, Json(shown(&report, &asked.metrics))).into_response()),
        Format::Csv => Ok((kept, download(&report, &asked.metrics)).into_response()),
    }
}

fn read<S>(query: Option<&str>, console: &Console<S>, now: Timestamp) -> Result<Asked, Problem> {
    let known = [&WHEN[..], &["granularity", "metrics", "limit", "format"]].concat();
    let given = Parameters::read(query, &known)?;
    let window = given.window(now)?;
    Ok(Asked {
        cuts: window.cuts(given.granularity()?)?,
        window,
        limit: given.limit(console.limits.list_max, console.limits.list_max)?,
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
    let (id, window) = (&profile.profile_id, &asked.window);
    let (totals, hours) = figures::totals(store, id, window.period).await?;
    let previous = figures::previous_totals(store, id, window).await?;
    let views_before = previous.as_ref().map_or(0, |previous| previous.totals.views);
    let views = [totals.views, views_before];
    let mut links = figures::links(store, id, window, views, LinkSort::ClicksDesc).await?;
    let audience = audience::audience(store, id, window, asked.limit).await?;
    let milestones = store.milestones(id, PAGE).await?;

    let links_total = links.len();
    cut(&mut links, asked.limit);
    let (first, last) = window.dates()?;
    Ok(Report {
        analytics: Analytics {
            span: Span::of(id, window),
            totals,
            previous,
            series: series(&asked.cuts, &hours),
        },
        start_date: first.to_iso(),
        end_date: last.to_iso(),
        top_link: links.first().filter(|link| link.figures.clicks > 0).cloned(),
        links_total,
        links,
        audience,
        milestones: milestones.into_iter().map(Milestone::from).collect(),
        profile: profile.into(),
    })
}

fn shown(report: &Report, metrics: &Metrics) -> Value {
    let mut document = serde_json::to_value(report).expect("a report has only text as keys");
    leave_out(&mut document, metrics);
    // What stands beside a figure goes with it.
    if let Some(previous) = document.get_mut("previous") {
        leave_out(previous, metrics);
    }
    document
}

fn leave_out(document: &mut Value, metrics: &Metrics) {
    let Value::Object(members) = document else { return };
    members.retain(|name, _| metric_of(name).is_none_or(|metric| metrics.show(metric)));
}

/// The metric that a report's member belongs to, and is left out with.
pub(crate) fn metric_of(member: &str) -> Option<&str> {
    let companion = COMPANIONS.iter().find(|(companion, _)| *companion == member);
    let metric = companion.map_or(member, |(_, metric)| *metric);
    METRICS.contains(&metric).then_some(metric)
}

fn download(report: &Report, metrics: &Metrics) -> Response {
    // Without the profile's id: file names are no place for strangers' text.
    let name =
        format!("attachment; filename=\"treehook-{}-{}.csv\"", report.start_date, report.end_date);
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    (headers, spreadsheet::write(report, metrics)).into_response()
}
