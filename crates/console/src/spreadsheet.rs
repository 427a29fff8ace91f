//! The report as CSV (RFC 4180): one table, a row per fact, for spreadsheets and for `grep`.

use std::borrow::Cow;

use crate::audience::DeviceShares;
use crate::figures::{LinkFigures, Totals};
use crate::profiles::Milestone;
use crate::report::{Metrics, Report};

const HEADER: [&str; 9] =
    ["section", "key", "name", "url", "views", "clicks", "unique_visitors", "ctr", "pct"];
/// What a report with the period before has in addition.
const PREVIOUS: [&str; 5] = [
    "previous_views",
    "previous_clicks",
    "previous_unique_visitors",
    "previous_ctr",
    "previous_pct",
];

/// One row; what a section does not have stays empty.
#[derive(Default)]
struct Row<'a> {
    section: &'static str,
    key: &'a str,
    name: &'a str,
    url: &'a str,
    figures: Figures,
    previous: Figures,
}

#[derive(Default)]
struct Figures {
    views: Option<u64>,
    clicks: Option<u64>,
    unique_visitors: Option<u64>,
    ctr: Option<f64>,
    pct: Option<f64>,
}

/// Writes the report's metrics, a section after the other.
pub(crate) fn write(report: &Report, metrics: &Metrics) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(vec![]);
    let mut put = |fields: &[Cow<'_, str>]| {
        writer
            .write_record(fields.iter().map(Cow::as_ref))
            .expect("every row has the header's fields, and memory takes them");
    };
    let compared = report.analytics.previous.is_some();
    let beside: &[&str] = if compared { &PREVIOUS } else { &[] };
    put(&HEADER.iter().chain(beside).map(|name| Cow::Borrowed(*name)).collect::<Vec<_>>());
    for row in rows(report, metrics) {
        put(&row.fields(compared));
    }
    writer.into_inner().expect("memory has nothing to flush")
}

fn rows<'a>(report: &'a Report, metrics: &Metrics) -> Vec<Row<'a>> {
    let mut rows = vec![summary(report, metrics)];
    rows.extend(days(report));
    if metrics.show("series") {
        rows.extend(report.analytics.series.iter().map(|point| Row {
            section: "series",
            key: &point.at,
            figures: Figures {
                views: Some(point.views),
                clicks: Some(point.clicks),
                ..Figures::default()
            },
            ..Row::default()
        }));
    }
    if metrics.show("links") {
        rows.extend(report.links.iter().map(|link| Row {
            section: "link",
            key: &link.link_id,
            name: link.title.as_deref().unwrap_or_default(),
            url: link.url.as_deref().unwrap_or_default(),
            figures: Figures::of_link(&link.figures),
            previous: link.previous.as_ref().map(Figures::of_link).unwrap_or_default(),
        }));
    }
    rows.extend(audience(report, metrics));
    if metrics.show("milestones") {
        rows.extend(report.milestones.iter().map(milestone));
    }
    rows
}

fn summary<'a>(report: &'a Report, metrics: &Metrics) -> Row<'a> {
    let previous = report.analytics.previous.as_ref();
    Row {
        section: "summary",
        key: &report.analytics.span.profile_id,
        figures: Figures::of_totals(&report.analytics.totals, metrics),
        previous: previous
            .map(|previous| Figures::of_totals(&previous.totals, metrics))
            .unwrap_or_default(),
        ..Row::default()
    }
}

/// Which whole UTC days visitors and the audience are counted over, where they are not the period:
/// the first moment as key, the end as name.
fn days(report: &Report) -> Option<Row<'_>> {
    let (bounds, audience) = (&report.analytics.span.bounds, &report.audience);
    let (from, to) = (audience.days_from.as_str(), audience.days_to.as_str());
    (bounds.start != from || bounds.end != to).then(|| Row {
        section: "days",
        key: from,
        name: to,
        ..Row::default()
    })
}

fn audience<'a>(report: &'a Report, metrics: &Metrics) -> Vec<Row<'a>> {
    let share = |section, key: &'a str, figures, previous| Row {
        section,
        key,
        figures,
        previous,
        ..Row::default()
    };
    let counted =
        |clicks: Option<u64>, pct: Option<f64>| Figures { clicks, pct, ..Figures::default() };
    let (audience, mut rows) = (&report.audience, Vec::new());
    if metrics.show("locations") {
        rows.extend(audience.locations.iter().map(|at| {
            let figures = counted(Some(at.clicks), Some(at.pct));
            share("country", &at.country, figures, counted(at.previous_clicks, None))
        }));
    }
    if metrics.show("referrers") {
        rows.extend(audience.referrers.iter().map(|from| {
            let figures = counted(Some(from.visits), Some(from.pct));
            share("referrer", &from.source, figures, counted(from.previous_visits, None))
        }));
    }
    if metrics.show("devices") {
        let before = audience.devices.previous.as_ref().map(named);
        for (index, (name, pct)) in named(&audience.devices.shares).into_iter().enumerate() {
            let previous = before.map(|before| before[index].1);
            rows.push(share("device", name, counted(None, Some(pct)), counted(None, previous)));
        }
    }
    rows
}

fn named(devices: &DeviceShares) -> [(&'static str, f64); 4] {
    [
        ("mobile", devices.mobile),
        ("desktop", devices.desktop),
        ("tablet", devices.tablet),
        ("unknown", devices.unknown),
    ]
}

/// A milestone: when, of what, and the number under the metric that it is about.
fn milestone(reached: &Milestone) -> Row<'_> {
    let value = reached.value.or(reached.threshold).and_then(|value| u64::try_from(value).ok());
    let metric = reached.metric.as_deref().unwrap_or_default();
    Row {
        section: "milestone",
        key: &reached.at,
        name: reached.link_id.as_deref().unwrap_or_default(),
        figures: Figures {
            views: value.filter(|_| metric == "views"),
            clicks: value.filter(|_| metric == "clicks"),
            ..Figures::default()
        },
        ..Row::default()
    }
}

impl Figures {
    fn of_totals(totals: &Totals, metrics: &Metrics) -> Self {
        Self {
            views: metrics.show("views").then_some(totals.views),
            clicks: metrics.show("clicks").then_some(totals.clicks),
            unique_visitors: metrics.show("unique_visitors").then_some(totals.unique_visitors),
            ctr: totals.ctr.filter(|_| metrics.show("ctr")),
            pct: None,
        }
    }

    fn of_link(link: &LinkFigures) -> Self {
        Self {
            clicks: Some(link.clicks),
            unique_visitors: Some(link.unique_visitors),
            ctr: link.ctr,
            ..Self::default()
        }
    }

    fn fields(&self) -> [Cow<'static, str>; 5] {
        let whole =
            |number: Option<u64>| Cow::Owned(number.map_or(String::new(), |n| n.to_string()));
        let ratio =
            |number: Option<f64>| Cow::Owned(number.map_or(String::new(), |n| n.to_string()));
        [
            whole(self.views),
            whole(self.clicks),
            whole(self.unique_visitors),
            ratio(self.ctr),
            ratio(self.pct),
        ]
    }
}

impl<'a> Row<'a> {
    fn fields(&self, compared: bool) -> Vec<Cow<'a, str>> {
        let text =
            [Cow::Borrowed(self.section), inert(self.key), inert(self.name), inert(self.url)];
        let mut fields: Vec<Cow<'a, str>> = text.into_iter().chain(self.figures.fields()).collect();
        if compared {
            fields.extend(self.previous.fields());
        }
        fields
    }
}

/// Strangers' text that a spreadsheet would take for a formula is given the apostrophe that says
/// text.
fn inert(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_a_formula() {
        for (text, written) in [
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("My shop", "My shop"),
            ("", ""),
        ] {
            assert_eq!(inert(text), written);
        }
    }
}
