//! Counting by hand: rows of the archive as they are, and plain loops over them.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection as _, FromRow};
use treehook_event::{Day, Timestamp};

use crate::harness::Deployment;

pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

/// What the archive tells of an event.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) key: String,
    pub(super) identity: Option<String>,
    pub(super) profile_id: Option<String>,
    pub(super) link_id: Option<String>,
    #[sqlx(rename = "type")]
    pub(super) event_type: String,
    kind: Option<String>,
    country: Option<String>,
    referrer: Option<String>,
    device: Option<String>,
    visitor: Option<i64>,
    pub(super) payload: String,
}

const COLUMNS: &str =
    "identity, profile_id, link_id, type, kind, country, referrer, device, visitor, payload";

/// Every event that counts, past all code of ours.
pub(super) async fn archive(deployment: &Deployment) -> Vec<Row> {
    match &deployment.database {
        None => {
            let file = deployment.data_dir().join("store.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).read_only(true);
            let mut connection =
                sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
            let sql =
                format!("select occurred_at as at, lower(hex(key)) as key, {COLUMNS} from events");
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
        }
        Some(database) => {
            let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
            let sql = format!(
                "select (extract(epoch from occurred_at) * 1000)::bigint as at,
                     encode(key, 'hex') as key, {COLUMNS} from events"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
        }
    }
}

/// Some of the rows.
#[derive(Clone)]
pub(super) struct Rows<'a>(pub(super) Vec<&'a Row>);

impl<'a> Rows<'a> {
    pub(super) fn of(rows: &'a [Row], profile: &str) -> Self {
        Self(rows.iter().filter(|row| row.profile_id.as_deref() == Some(profile)).collect())
    }

    fn that(&self, holds: impl Fn(&Row) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|row| holds(row)).collect())
    }

    pub(super) fn between(&self, from: i64, to: i64) -> Self {
        self.that(|row| (from..to).contains(&row.at))
    }

    pub(super) fn visits(&self) -> Self {
        self.that(|row| row.kind.is_some())
    }

    pub(super) fn clicks(&self) -> Self {
        self.that(|row| row.kind.as_deref() == Some("click"))
    }

    pub(super) fn views(&self) -> u64 {
        self.that(|row| row.kind.as_deref() == Some("view")).count()
    }

    pub(super) fn on_link(&self, link: &str) -> Self {
        self.that(|row| row.link_id.as_deref() == Some(link))
    }

    pub(super) fn of_types(&self, types: &[&str]) -> Self {
        self.that(|row| types.contains(&row.event_type.as_str()))
    }

    /// Latest first.
    pub(super) fn latest_first(mut self) -> Self {
        self.0.sort_by(|a, b| (b.at, &b.key).cmp(&(a.at, &a.key)));
        self
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn visitors(&self) -> u64 {
        self.0.iter().filter_map(|row| row.visitor).collect::<BTreeSet<_>>().len() as u64
    }

    /// Clicks by value of a column.
    pub(super) fn by(&self, dimension: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.clicks().0 {
            let value = match dimension {
                "country" => &row.country,
                "referrer" => &row.referrer,
                _ => &row.device,
            };
            *counts.entry(value.clone().unwrap()).or_default() += 1;
        }
        counts
    }

    pub(super) fn links(&self) -> BTreeSet<String> {
        self.0.iter().filter_map(|row| row.link_id.clone()).collect()
    }
}

/// How far a zone's clocks are ahead of UTC, by its law and not by a database.
pub(super) fn ahead(zone: &str, at: i64) -> i64 {
    match zone {
        "UTC" => 0,
        "Asia/Tokyo" => 9 * HOUR,
        "Asia/Kolkata" => 5 * HOUR + HOUR / 2,
        "Europe/Berlin" => {
            // Summer time is between the last Sundays of March and of October, 01:00 UTC.
            let year = Timestamp::from_millis(at).to_rfc3339()[..4].to_owned();
            let last_sunday = |month: &str| {
                let last = Day::from_iso(&format!("{year}-{month}-31")).unwrap().0;
                // 1970-01-01 was a Thursday.
                i64::from(last - (last + 4).rem_euclid(7)) * DAY + HOUR
            };
            if (last_sunday("03")..last_sunday("10")).contains(&at) { 2 * HOUR } else { HOUR }
        }
        other => panic!("no law of {other} here"),
    }
}
