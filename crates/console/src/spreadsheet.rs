//! The report as CSV (RFC 4180): one table, a row per fact, for spreadsheets and for `grep`.

use std::borrow::Cow;

use crate::report::{Metrics, Report};

const HEADER: [&str; 9] =
    ["section", "key", "name", "url", "views", "clicks", "unique_visitors", "ctr", "pct"];

/// One row; what a section does not have stays empty.
#[derive(Default)]
struct Row<'a> {
    section: &'static str,
    key: &'a str,
    name: &'a str,
    url: &'a str,
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
    let mut put = |fields: [Cow<'_, str>; 9]| {
        writer
            .write_record(fields.iter().map(Cow::as_ref))
            .expect("every row has the header's nine fields, and memory takes them");
    };
    put(HEADER.map(Cow::Borrowed));
    for row in rows(report, metrics) {
        put(row.fields());
    }
    writer.into_inner().expect("memory has nothing to flush")
}

fn rows<'a>(report: &'a Report, metrics: &Metrics) -> Vec<Row<'a>> {
    let mut rows = vec![summary(report, metrics)];
    if metrics.show("series") {
        rows.extend(report.analytics.series.iter().map(|point| Row {
            section: "series",
            key: &point.at,
            views: Some(point.views),
            clicks: Some(point.clicks),
            ..Row::default()
        }));
    }
    if metrics.show("links") {
        rows.extend(report.links.iter().map(|link| Row {
            section: "link",
            key: &link.link_id,
            name: link.title.as_deref().unwrap_or_default(),
            url: link.url.as_deref().unwrap_or_default(),
            clicks: Some(link.clicks),
            unique_visitors: Some(link.unique_visitors),
            ctr: link.ctr,
            ..Row::default()
        }));
    }
    rows.extend(audience(report, metrics));
    if metrics.show("milestones") {
        rows.extend(report.milestones.iter().map(milestone));
    }
    rows
}

fn summary<'a>(report: &'a Report, metrics: &Metrics) -> Row<'a> {
    let totals = &report.analytics;
    Row {
        section: "summary",
        key: &totals.profile_id,
        views: metrics.show("views").then_some(totals.views),
        clicks: metrics.show("clicks").then_some(totals.clicks),
        unique_visitors: metrics.show("unique_visitors").then_some(totals.unique_visitors),
        ctr: totals.ctr.filter(|_| metrics.show("ctr")),
        ..Row::default()
    }
}

fn audience<'a>(report: &'a Report, metrics: &Metrics) -> Vec<Row<'a>> {
    let share = |section, key: &'a str, clicks, pct| Row {
        section,
        key,
        clicks,
        pct: Some(pct),
        ..Row::default()
    };
    let (audience, mut rows) = (&report.audience.audience, Vec::new());
    if metrics.show("locations") {
        let locations = audience.locations.iter();
        rows.extend(locations.map(|at| share("country", &at.country, Some(at.clicks), at.pct)));
    }
    if metrics.show("referrers") {
        let referrers = audience.referrers.iter();
        rows.extend(
            referrers.map(|from| share("referrer", &from.source, Some(from.visits), from.pct)),
        );
    }
    if metrics.show("devices") {
        let devices = audience.devices;
        rows.extend(
            [
                ("mobile", devices.mobile),
                ("desktop", devices.desktop),
                ("tablet", devices.tablet),
                ("unknown", devices.unknown),
            ]
            .map(|(name, pct)| share("device", name, None, pct)),
        );
    }
    rows
}

/// A milestone: when, of what, and the number under the metric that it is about.
fn milestone(reached: &crate::answers::MilestoneAnswer) -> Row<'_> {
    let value = reached.value.or(reached.threshold).and_then(|value| u64::try_from(value).ok());
    let metric = reached.metric.as_deref().unwrap_or_default();
    Row {
        section: "milestone",
        key: &reached.at,
        name: reached.link_id.as_deref().unwrap_or_default(),
        views: value.filter(|_| metric == "views"),
        clicks: value.filter(|_| metric == "clicks"),
        ..Row::default()
    }
}

impl<'a> Row<'a> {
    fn fields(self) -> [Cow<'a, str>; 9] {
        let whole =
            |number: Option<u64>| Cow::Owned(number.map_or(String::new(), |n| n.to_string()));
        let ratio =
            |number: Option<f64>| Cow::Owned(number.map_or(String::new(), |n| n.to_string()));
        [
            Cow::Borrowed(self.section),
            inert(self.key),
            inert(self.name),
            inert(self.url),
            whole(self.views),
            whole(self.clicks),
            whole(self.unique_visitors),
            ratio(self.ctr),
            ratio(self.pct),
        ]
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
