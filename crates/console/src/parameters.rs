//! What a request asks for: its query parameters, each known, given once, not empty, and within its bounds.

use std::collections::BTreeMap;

use serde::Deserialize;
use treehook_event::{Granularity, LinkSort, Timestamp};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::problem::{Problem, printable};
use crate::window::{Times, Window};
use crate::zone::Zone;

/// The parameters that say which time is meant, as [`When`] documents them.
pub(crate) const WHEN: [&str; 5] = ["period", "from", "to", "tz", "compare"];

/// How many unknown names one refusal lists.
const NAMES_MAX: usize = 5;

/// Which time is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read by name, for the OpenAPI document")]
pub(crate) struct When {
    /// Instead of `from` and `to`; the last 30 days without any of the three. Days are those of `tz`,
    /// today included; `last_24_hours` are clock hours, the current one included.
    #[param(inline)]
    period: Option<NamedPeriod>,
    /// `YYYY-MM-DD` or an RFC 3339 time, which is rounded out to a whole hour.
    #[param(
        pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"
    )]
    from: Option<String>,
    /// `YYYY-MM-DD` (that day is included) or an RFC 3339 time; today without it. At most 800 days
    /// after `from`.
    #[param(
        pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"
    )]
    to: Option<String>,
    /// Whose midnight cuts days: a name of the IANA time zone database. A zone whose days begin
    /// within a UTC hour is refused wherever days have to be cut.
    #[param(default = "UTC", example = "Europe/Berlin", pattern = "^[A-Za-z0-9_+/-]{1,64}$")]
    tz: Option<String>,
    /// Puts the figures of the period before, of the same length, beside each figure.
    #[param(inline)]
    compare: Option<Compare>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NamedPeriod {
    #[serde(rename = "last_24_hours")]
    Last24Hours,
    #[serde(rename = "last_7_days")]
    Last7Days,
    #[serde(rename = "last_30_days")]
    Last30Days,
    #[serde(rename = "last_90_days")]
    Last90Days,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Compare {
    Previous,
}

/// How fine a series is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fineness {
    Hourly,
    Daily,
}

/// In which order links are listed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    ClicksDesc,
    ClicksAsc,
    TitleAsc,
    PositionAsc,
}

/// The query parameters of one request.
pub(crate) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Reads a query. A name that is not in `known` is refused: a misspelt `perod=` would otherwise
    /// answer for thirty days nobody asked for.
    pub(crate) fn read(query: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        let mut unknown = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(name) = known.iter().find(|known| **known == name) else {
                unknown.push(printable(&name));
                continue;
            };
            // Not the same as leaving it out: `?source=` would find what has no source.
            if value.is_empty() {
                return Err(Problem::invalid_parameter(name, "is empty; leave it out instead"));
            }
            if given.insert(*name, value.into_owned()).is_some() {
                return Err(Problem::invalid_parameter(name, "is given more than once"));
            }
        }
        match unknown.first() {
            None => Ok(Self(given)),
            Some(first) => Err(refused(first, &unknown, known)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `period`, or `from` and `to`, cut by `tz`; the last 30 days without. `compare` adds the
    /// period before.
    pub(crate) fn window(&self, now: Timestamp) -> Result<Window, Problem> {
        let zone = Zone::named(self.get("tz"))?;
        let compare = match self.get("compare") {
            None => false,
            Some("previous") => true,
            Some(_) => return Err(Problem::invalid_parameter("compare", "use previous")),
        };
        let (period, from, to) = (self.get("period"), self.get("from"), self.get("to"));
        Window::read(Times { period, from, to }, zone, compare, now)
    }

    /// `granularity`; without it whatever gives a readable curve.
    pub(crate) fn granularity(&self) -> Result<Granularity, Problem> {
        match (self.get("granularity"), self.get("period")) {
            (Some("hourly"), _) | (None, Some("last_24_hours")) => Ok(Granularity::Hourly),
            (Some("daily") | None, _) => Ok(Granularity::Daily),
            (Some(_), _) => Err(Problem::invalid_parameter("granularity", "use hourly or daily")),
        }
    }

    /// `after`, where it names a place in a list.
    pub(crate) fn after<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let place = |text| {
            read(text).ok_or_else(|| {
                Problem::invalid_parameter("after", "use the `next` of the page before")
            })
        };
        self.get("after").map(place).transpose()
    }

    /// `sort`; most clicked first without it.
    pub(crate) fn sort(&self) -> Result<LinkSort, Problem> {
        let Some(name) = self.get("sort") else { return Ok(LinkSort::ClicksDesc) };
        let known = "use clicks_desc, clicks_asc, title_asc or position_asc";
        LinkSort::named(name).ok_or_else(|| Problem::invalid_parameter("sort", known))
    }

    /// `limit`, from 1 to `most`.
    pub(crate) fn limit(&self, default: u32, most: u32) -> Result<u32, Problem> {
        let Some(text) = self.get("limit") else { return Ok(default.min(most)) };
        text.parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| Problem::invalid_parameter("limit", &format!("use 1 to {most}")))
    }
}

fn refused(first: &str, unknown: &[String], known: &[&str]) -> Problem {
    let listed = |names: &[&str]| names.join(", ");
    let hint = if known.is_empty() {
        "this path takes no parameters".to_owned()
    } else {
        format!("this path knows {}", listed(known))
    };
    let others: Vec<&str> =
        unknown.iter().skip(1).take(NAMES_MAX - 1).map(String::as_str).collect();
    if others.is_empty() {
        Problem::invalid_parameter(first, &format!("is unknown; {hint}"))
    } else {
        let problem = format!("is unknown, as are {}; {hint}", listed(&others));
        Problem::invalid_parameter(first, &problem)
    }
}
