//! Trends, milestones, history and live figures beside the count by hand.

use serde_json::{Map, Value};

use super::compared::{Compared, list, millis};
use super::hand::{DAY, HOUR, Rows};

impl Compared<'_> {
    /// Every link, country, referrer and device that the archive knows.
    pub(super) async fn trends(&self, profile: &str, when: &str) {
        let rows = self.rows(profile);
        for link in rows.clicks().links() {
            let clicked = rows.clicks().on_link(&link);
            self.trend(profile, when, ("link", &link), &clicked).await;
        }
        let coarse = when.replace("&granularity=hourly", "");
        for dimension in ["country", "referrer", "device"] {
            for value in rows.by(dimension).into_keys() {
                let mut clicked = rows.clicks();
                clicked.0.retain(|row| Rows(vec![*row]).by(dimension).contains_key(&value));
                self.trend(profile, &coarse, (dimension, &value), &clicked).await;
            }
        }
    }

    async fn trend(&self, profile: &str, when: &str, slice: (&str, &str), clicked: &Rows<'_>) {
        let (by, value) = slice;
        let place = format!("{profile} {by}={value} {when}");
        let escaped: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let answer = self.get(profile, "trend", &format!("{when}&{by}={escaped}")).await;
        let (mut start, mut end) = (millis(&answer["start"]), millis(&answer["end"]));
        if by != "link" {
            // Kept by UTC day: all those that the period touches.
            start -= start.rem_euclid(DAY);
            end = (end - 1) - (end - 1).rem_euclid(DAY) + DAY;
        }
        assert_eq!(answer["clicks"], clicked.between(start, end).count(), "{place}");
        let series = list(&answer, "series");
        for (n, point) in series.iter().enumerate() {
            let from = millis(&point["at"]);
            let to = series.get(n + 1).map_or(end, |next| millis(&next["at"]));
            assert_eq!(point["clicks"], clicked.between(from, to).count(), "{place}: {point}");
        }
        assert_eq!(millis(&series[0]["at"]), start, "{place}");
    }

    pub(super) async fn milestones(&self, profile: &str) {
        let answer = self.get(profile, "milestones", "limit=500").await;
        self.assert_milestones(profile, list(&answer, "milestones"));
    }

    pub(super) fn assert_milestones(&self, profile: &str, listed: &[Value]) {
        let reached = self.rows(profile).of_types(&["analytics.milestone"]).latest_first();
        assert_eq!(listed.len(), reached.0.len(), "milestones of {profile}");
        for (listed, row) in listed.iter().zip(&reached.0) {
            assert_eq!(millis(&listed["at"]), row.at);
            let payload: Value = serde_json::from_str(&row.payload).unwrap();
            for name in ["metric", "threshold", "value"] {
                assert_eq!(listed[name], payload[name], "{name} of {payload}");
            }
            assert_eq!(listed["link_id"].as_str(), row.link_id.as_deref());
        }
    }

    /// Latest first, page by page, each change with the fields that its event named.
    pub(super) async fn history(&self, profile: &str) {
        let changed = self
            .rows(profile)
            .of_types(&["link.created", "link.updated", "link.deleted", "profile.updated"])
            .latest_first();
        let mut listed = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(profile, "history", &format!("limit=7{after}")).await;
            listed.extend(list(&page, "history").iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(listed.len(), changed.0.len(), "history of {profile}");
        for (listed, row) in listed.iter().zip(&changed.0) {
            assert_eq!(millis(&listed["at"]), row.at);
            assert_eq!(listed["type"], row.event_type);
            assert_eq!(listed["link_id"].as_str(), row.link_id.as_deref());
            assert_eq!(listed["event_id"].as_str(), row.identity.as_deref());
            let payload: Value = serde_json::from_str(&row.payload).unwrap();
            let nothing = Map::new();
            let fields = listed["changes"].as_object().unwrap_or(&nothing);
            for name in ["title", "display_name"] {
                let told = payload.get(name).filter(|told| !told.is_null());
                assert_eq!(fields.get(name), told, "{name} of {payload}");
            }
        }
    }

    /// The last half hour by the minute, and the one before. Traffic has come to rest, so that it is
    /// the minute of the answer alone that matters.
    pub(super) async fn live(&self, profile: &str) {
        let answer = self.get(profile, "live", "").await;
        let rows = self.rows(profile);
        for (totals, place) in [(&answer, "live"), (&answer["previous"], "before")] {
            let (start, end) = (millis(&totals["start"]), millis(&totals["end"]));
            assert_eq!(end - start, HOUR / 2, "{place}");
            let within = rows.between(start, end);
            assert_eq!(totals["views"], within.views(), "{place}: views of {profile}");
            assert_eq!(totals["clicks"], within.clicks().count(), "{place}: clicks of {profile}");
        }
        for point in list(&answer, "series") {
            let within = rows.between(millis(&point["at"]), millis(&point["at"]) + HOUR / 60);
            assert_eq!(point["views"], within.views(), "{profile}: {point}");
            assert_eq!(point["clicks"], within.clicks().count(), "{profile}: {point}");
        }
        assert_eq!(list(&answer, "series").len(), 30);
    }
}
