//! What a request asks for: its query parameters, each known, given once, and within its bounds.

use std::collections::BTreeMap;

use treehook_event::{Granularity, LinkSort, Period, Timestamp};
use url::form_urlencoded;

use crate::problem::{Problem, printable};

/// How many unknown names one refusal lists.
const NAMES_MAX: usize = 5;

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

    /// `period`, or `from` and `to`; the last 30 days without.
    pub(crate) fn period(&self, now: Timestamp) -> Result<Period, Problem> {
        let (period, from, to) = (self.get("period"), self.get("from"), self.get("to"));
        Ok(Period::of_parameters(period, from, to, now)?)
    }

    /// `granularity`; without it whatever gives a readable curve.
    pub(crate) fn granularity(&self) -> Result<Granularity, Problem> {
        match (self.get("granularity"), self.get("period")) {
            (Some("hourly"), _) | (None, Some("last_24_hours")) => Ok(Granularity::Hourly),
            (Some("daily") | None, _) => Ok(Granularity::Daily),
            (Some(_), _) => Err(Problem::invalid_parameter("granularity", "use hourly or daily")),
        }
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
