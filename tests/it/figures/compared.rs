//! The API's answers beside the count by hand, field by field.

#![expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use treehook_event::Timestamp;

use super::hand::{DAY, HOUR, Row, Rows, ahead};
use crate::harness::Client;

/// Where to ask, and what must come.
pub(super) struct Compared<'a> {
    pub(super) client: &'a Client,
    pub(super) admin: SocketAddr,
    pub(super) archive: &'a [Row],
}

pub(super) fn millis(value: &Value) -> i64 {
    Timestamp::from_rfc3339(value.as_str().unwrap()).unwrap().as_millis()
}

pub(super) fn list<'a>(answer: &'a Value, name: &str) -> &'a Vec<Value> {
    answer[name].as_array().unwrap_or_else(|| panic!("{name}: {answer}"))
}

/// To `digits` digits, as the contract rounds.
fn rounded(part: u64, of: u64, digits: i32) -> Value {
    let scale = 10_f64.powi(digits);
    json!((part as f64 / of as f64 * scale).round() / scale)
}

fn ctr(clicks: u64, views: u64) -> Value {
    if views == 0 { Value::Null } else { rounded(clicks, views, 4) }
}

fn pct(part: u64, of: u64) -> Value {
    rounded(part * 100, of.max(1), 2)
}

/// Exact to 100; then within three standard errors of a sketch.
fn assert_visitors(answered: &Value, counted: u64, error: f64, place: &str) {
    let answered = answered.as_u64().unwrap();
    let allowed = if counted <= 100 { 0.0 } else { counted as f64 * 3.0 * error };
    let off = answered.abs_diff(counted) as f64;
    assert!(off <= allowed, "{place}: {answered} visitors, {counted} by hand");
}

/// Views, clicks, rate and visitors of `start` to `end`, with the days that visitors are counted over.
fn assert_totals(totals: &Value, rows: &Rows<'_>, place: &str) {
    let (start, end) = (millis(&totals["start"]), millis(&totals["end"]));
    let within = rows.between(start, end);
    let (views, clicks) = (within.views(), within.clicks().count());
    assert_eq!(totals["views"], views, "{place}: views");
    assert_eq!(totals["clicks"], clicks, "{place}: clicks");
    assert_eq!(totals["ctr"], ctr(clicks, views), "{place}: ctr");
    let (first, last) =
        (millis(&totals["unique_visitors_from"]), millis(&totals["unique_visitors_to"]));
    assert_days(start, end, first, last, place);
    let visitors = rows.between(first, last).visits().visitors();
    assert_visitors(&totals["unique_visitors"], visitors, 0.01, place);
}

/// The whole UTC days that a period touches.
fn assert_days(start: i64, end: i64, first: i64, last: i64, place: &str) {
    assert_eq!(first, start - start.rem_euclid(DAY), "{place}: first day");
    assert_eq!(last, (end - 1) - (end - 1).rem_euclid(DAY) + DAY, "{place}: last day");
}

/// Each point holds what happened until the next; days begin at the zone's midnight.
fn assert_series(answer: &Value, rows: &Rows<'_>, place: &str) {
    let (start, end) = (millis(&answer["start"]), millis(&answer["end"]));
    let zone = answer["tz"].as_str().unwrap();
    let starts: Vec<i64> = list(answer, "series").iter().map(|at| millis(&at["at"])).collect();
    assert!(starts[0] <= start, "{place}");
    for (n, point) in list(answer, "series").iter().enumerate() {
        let next = starts.get(n + 1).copied().unwrap_or(end);
        let within = rows.between(starts[n].max(start), next);
        assert_eq!(point["views"], within.views(), "{place}: views at {}", point["at"]);
        let clicks = within.clicks().count();
        assert_eq!(point["clicks"], clicks, "{place}: clicks at {}", point["at"]);
        let is_hour = place.contains("hourly") || place.contains("last_24_hours");
        if is_hour {
            assert_eq!(next - starts[n], HOUR, "{place}: an hour is left out");
        } else {
            let midnight = (starts[n] + ahead(zone, starts[n])).rem_euclid(DAY);
            assert_eq!(midnight, 0, "{place}: {} is no midnight in {zone}", point["at"]);
            assert!((23 * HOUR..=25 * HOUR).contains(&(next - starts[n])), "{place}");
        }
    }
}

impl Compared<'_> {
    pub(super) async fn get(&self, profile: &str, path: &str, query: &str) -> Value {
        self.client.get(self.admin, &format!("/api/v1/profiles/{profile}/{path}?{query}")).await
    }

    pub(super) fn rows(&self, profile: &str) -> Rows<'_> {
        Rows::of(self.archive, profile)
    }

    /// Everybody whom the archive names, in order of id, page by page.
    pub(super) async fn profiles(&self) -> Vec<String> {
        let named: BTreeSet<&str> =
            self.archive.iter().filter_map(|row| row.profile_id.as_deref()).collect();
        let mut listed = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/profiles?limit=2{after}");
            let page = self.client.get(self.admin, &path).await;
            listed.extend(
                list(&page, "profiles")
                    .iter()
                    .map(|row| row["profile_id"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(listed, named.into_iter().collect::<Vec<_>>());
        listed
    }

    pub(super) async fn analytics(&self, profile: &str, when: &str) {
        let place = format!("{profile} {when}");
        let answer = self.get(profile, "analytics", when).await;
        let rows = self.rows(profile);
        assert_totals(&answer, &rows, &place);
        assert_totals(&answer["previous"], &rows, &format!("{place}: before"));
        assert_eq!(answer["previous"]["end"], answer["start"], "{place}");
        assert_series(&answer, &rows, &place);
    }

    pub(super) async fn links(&self, profile: &str, when: &str) {
        // `granularity` is of series alone.
        let when = when.replace("&granularity=hourly", "");
        let answer = self.get(profile, "links", &when).await;
        self.assert_links(profile, &answer, &format!("{profile} {when}"));
    }

    fn assert_links(&self, profile: &str, answer: &Value, place: &str) {
        let rows = self.rows(profile);
        let links = list(answer, "links");
        assert_eq!(answer["links_total"], links.len(), "{place}");
        let (start, end) = (millis(&answer["start"]), millis(&answer["end"]));
        let (first, last) =
            (millis(&answer["unique_visitors_from"]), millis(&answer["unique_visitors_to"]));
        let views = rows.between(start, end).views();
        for link in links {
            let id = link["link_id"].as_str().unwrap();
            let place = format!("{place}: {id}");
            let clicked = rows.clicks().on_link(id);
            let clicks = clicked.between(start, end).count();
            assert_eq!(link["clicks"], clicks, "{place}");
            assert_eq!(link["ctr"], ctr(clicks, views), "{place}");
            let visitors = clicked.between(first, last).visitors();
            assert_visitors(&link["unique_visitors"], visitors, 0.02, &place);
            self.assert_state(profile, link, &place);
        }
        let order: Vec<_> = links.iter().map(|link| link["clicks"].as_u64().unwrap()).collect();
        assert!(order.is_sorted_by(|a, b| a >= b), "{place}: {order:?}");
        // Every link that was ever told of; and no other.
        let named: BTreeSet<String> = rows
            .of_types(&["link.created", "link.updated", "link.deleted"])
            .links()
            .into_iter()
            .chain(rows.between(start, end).clicks().links())
            .collect();
        let listed: BTreeSet<String> =
            links.iter().map(|link| link["link_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed, named, "{place}");
    }

    /// The latest title that was told, and whether the link is gone.
    fn assert_state(&self, profile: &str, link: &Value, place: &str) {
        let told = self.rows(profile).on_link(link["link_id"].as_str().unwrap());
        let gone = told.of_types(&["link.deleted"]).count() > 0;
        assert_eq!(link["deleted"], gone, "{place}");
        let titles = told.of_types(&["link.created", "link.updated"]).latest_first();
        let title = titles.0.iter().find_map(|row| {
            let payload: Value = serde_json::from_str(&row.payload).unwrap();
            payload["title"].as_str().map(str::to_owned)
        });
        assert_eq!(link["title"].as_str(), title.as_deref(), "{place}: title");
    }

    fn assert_audience(&self, profile: &str, answer: &Value, place: &str) {
        let (start, end) = (millis(&answer["start"]), millis(&answer["end"]));
        let (first, last) = (millis(&answer["days_from"]), millis(&answer["days_to"]));
        assert_days(start, end, first, last, place);
        let rows = self.rows(profile).between(first, last);
        let before = self
            .rows(profile)
            .between(millis(&answer["previous_days_from"]), millis(&answer["previous_days_to"]));
        let clicks = rows.clicks().count();
        for (dimension, name, value, count, previous) in [
            ("country", "locations", "country", "clicks", "previous_clicks"),
            ("referrer", "referrers", "source", "visits", "previous_visits"),
        ] {
            let (counted, counted_before) = (rows.by(dimension), before.by(dimension));
            let mut expected: Vec<_> = counted.iter().collect();
            expected.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let expected: Vec<Value> = expected
                .into_iter()
                .map(|(named, many)| {
                    let before = counted_before.get(named).copied().unwrap_or(0);
                    json!({value: named, count: many, "pct": pct(*many, clicks), previous: before})
                })
                .collect();
            assert_eq!(*list(answer, name), expected, "{place}: {name}");
            assert_eq!(answer[format!("{name}_total")], expected.len(), "{place}: {name}");
        }
        for (rows, devices) in
            [(&rows, &answer["devices"]), (&before, &answer["devices"]["previous"])]
        {
            let (counted, clicks) = (rows.by("device"), rows.clicks().count());
            for device in ["mobile", "desktop", "tablet", "unknown"] {
                let many = counted.get(device).copied().unwrap_or(0);
                assert_eq!(devices[device], pct(many, clicks), "{place}: {device}");
            }
        }
    }

    /// One document that says what the single answers say.
    pub(super) async fn report(&self, profile: &str, when: &str) {
        let place = format!("{profile} report {when}");
        let report = self.get(profile, "report", when).await;
        let rows = self.rows(profile);
        assert_totals(&report, &rows, &place);
        assert_series(&report, &rows, &place);
        self.assert_links(profile, &report, &place);
        self.assert_audience(profile, &report, &place);
        let top = list(&report, "links").iter().find(|link| link["clicks"] != 0);
        assert_eq!(Some(&report["top_link"]).filter(|link| !link.is_null()), top, "{place}");
        self.assert_milestones(profile, list(&report, "milestones"));
        let coarse = when.replace("&granularity=hourly", "");
        let audience = self.get(profile, "audience", &coarse).await;
        self.assert_audience(profile, &audience, &place);
        let zone = report["tz"].as_str().unwrap();
        let date = |at: i64| Timestamp::from_millis(at + ahead(zone, at)).day().to_iso();
        assert_eq!(report["start_date"], date(millis(&report["start"])), "{place}");
        assert_eq!(report["end_date"], date(millis(&report["end"]) - 1), "{place}");
    }

    /// A zone whose days begin within a UTC hour is refused, by name, wherever days are cut.
    pub(super) async fn refuses_to_cut_days(&self, profile: &str, zone: &str) {
        for path in ["analytics", "links", "audience", "report"] {
            let path = format!("/api/v1/profiles/{profile}/{path}?period=last_7_days&tz={zone}");
            let (status, text) = self.client.text(self.admin, &path).await;
            assert_eq!(status, 400, "{path}: {text}");
            assert!(text.contains("tz") && text.contains(zone), "{text}");
        }
    }
}
