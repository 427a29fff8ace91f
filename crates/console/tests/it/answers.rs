//! What is answered when all is well: every path, field by field.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::{Value, json};
use treehook_console::{Access, Limits};

use crate::small::{console, get, open, small};

async fn answer(path: &str) -> Value {
    let answer = get(&open(), path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[tokio::test]
async fn profiles_come_a_page_at_a_time() {
    let first = answer("/api/v1/profiles?limit=2").await;
    assert_eq!(
        first["profiles"][0],
        json!({
            "profile_id": "p1", "username": null, "display_name": "Ada", "bio": null,
            "avatar_url": null, "theme": null,
        })
    );
    assert_eq!(first["profiles"].as_array().unwrap().len(), 2);
    assert_eq!(first["next"], "p2");
    let last = answer("/api/v1/profiles?limit=2&after=p2").await;
    assert_eq!(last["profiles"][0]["profile_id"], "p3/x");
    assert_eq!(last["next"], Value::Null);
}

#[tokio::test]
async fn analytics_have_totals_and_a_series_without_gaps() {
    let day = answer("/api/v1/profiles/p1/analytics?period=last_24_hours").await;
    assert_eq!(day["series"].as_array().unwrap().len(), 24);
    assert_eq!(day["series"][23], json!({"at": "2026-11-24T10:00:00Z", "views": 6, "clicks": 3}));
    let mut month = answer("/api/v1/profiles/p1/analytics").await;
    assert_eq!(month["series"].take().as_array().unwrap().len(), 30);
    assert_eq!(
        month,
        json!({
            "profile_id": "p1", "tz": "UTC",
            "start": "2026-10-26T00:00:00Z", "end": "2026-11-25T00:00:00Z",
            "views": 10, "clicks": 4, "ctr": 0.4, "unique_visitors": 7,
            "unique_visitors_from": "2026-10-26T00:00:00Z",
            "unique_visitors_to": "2026-11-25T00:00:00Z", "series": null,
        })
    );
}

#[tokio::test]
async fn granularity_follows_the_period_unless_it_is_given() {
    for (query, points) in [
        ("period=last_7_days", 7),
        ("period=last_7_days&granularity=hourly", 168),
        ("period=last_24_hours&granularity=daily", 2),
        ("from=2026-11-01&to=2026-11-02", 2),
        ("from=2026-11-24T08:00:00Z&to=2026-11-24T10:00:00Z&granularity=hourly", 2),
        ("from=2026-11-23", 2),
    ] {
        let analytics = answer(&format!("/api/v1/profiles/p1/analytics?{query}")).await;
        assert_eq!(analytics["series"].as_array().unwrap().len(), points, "{query}");
    }
}

#[tokio::test]
async fn links_are_ranked_and_cut_at_the_limit() {
    let links = answer("/api/v1/profiles/p1/links").await;
    assert_eq!(
        links,
        json!({
            "profile_id": "p1", "tz": "UTC",
            "start": "2026-10-26T00:00:00Z", "end": "2026-11-25T00:00:00Z",
            "unique_visitors_from": "2026-10-26T00:00:00Z",
            "unique_visitors_to": "2026-11-25T00:00:00Z",
            "links_total": 2, "next": null,
            "links": [
                {"link_id": "l1", "title": "Shop", "url": "https://example.com/l1",
                 "type": "classic", "deleted": false, "clicks": 3, "unique_visitors": 2, "ctr": 0.3},
                {"link_id": "l2", "title": "=1+1", "url": "https://example.com/l2",
                 "type": "classic", "deleted": true, "clicks": 1, "unique_visitors": 0, "ctr": 0.1},
            ],
        })
    );
    let least = answer("/api/v1/profiles/p1/links?sort=clicks_asc&limit=1").await;
    assert_eq!(least["links"].as_array().unwrap().len(), 1);
    assert_eq!(least["links"][0]["link_id"], "l2");
    assert_eq!(least["links_total"], 2);
    assert_eq!(least["next"], "l2");
    let rest = answer("/api/v1/profiles/p1/links?sort=clicks_asc&limit=1&after=l2").await;
    assert_eq!(rest["links"][0]["link_id"], "l1");
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn an_audience_is_told_in_per_cent_of_all_clicks() {
    let audience = answer("/api/v1/profiles/p1/audience?limit=1").await;
    assert_eq!(
        audience,
        json!({
            "profile_id": "p1", "tz": "UTC",
            "start": "2026-10-26T00:00:00Z", "end": "2026-11-25T00:00:00Z",
            "days_from": "2026-10-26T00:00:00Z", "days_to": "2026-11-25T00:00:00Z",
            "locations_total": 2, "locations": [{"country": "DE", "clicks": 3, "pct": 75.0}],
            "referrers_total": 1,
            "referrers": [{"source": "direct", "visits": 4, "pct": 100.0}],
            "devices": {"mobile": 100.0, "desktop": 0.0, "tablet": 0.0, "unknown": 0.0},
        })
    );
}

#[tokio::test]
async fn milestones_and_status_have_their_shapes() {
    assert_eq!(
        answer("/api/v1/profiles/p1/milestones").await,
        json!({"profile_id": "p1", "milestones": [{
            "link_id": "l1", "metric": "clicks", "threshold": 3, "value": 3,
            "at": "2026-11-24T10:30:00.000Z",
        }]})
    );
    assert_eq!(
        answer("/api/v1/status").await,
        json!({
            "accepted": 5, "applied": 4, "duplicates": 1, "dead": 0,
            "outbox": {"events": 0, "bytes": 0, "oldest_seconds": null}, "queue": {"events": 0},
            "lag_seconds": null, "broker": "none", "database": "up",
        })
    );
}

#[tokio::test]
async fn a_report_is_all_of_it_in_one_document() {
    let report = answer("/api/v1/profiles/p1/report").await;
    let names: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "clicks",
            "ctr",
            "days_from",
            "days_to",
            "devices",
            "end",
            "end_date",
            "links",
            "links_total",
            "locations",
            "locations_total",
            "milestones",
            "profile",
            "profile_id",
            "referrers",
            "referrers_total",
            "series",
            "start",
            "start_date",
            "top_link",
            "tz",
            "unique_visitors",
            "unique_visitors_from",
            "unique_visitors_to",
            "views",
        ]
    );
    assert_eq!(report["start_date"], "2026-10-26");
    assert_eq!(report["end_date"], "2026-11-24");
    assert_eq!(report["top_link"]["link_id"], "l1");
    assert_eq!(report["profile"]["display_name"], "Ada");

    let chosen = answer("/api/v1/profiles/p1/report?metrics=clicks,referrers").await;
    let names: Vec<&str> = chosen.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "clicks",
            "days_from",
            "days_to",
            "end",
            "end_date",
            "profile",
            "profile_id",
            "referrers",
            "referrers_total",
            "start",
            "start_date",
            "tz",
        ]
    );
}

#[tokio::test]
async fn a_report_as_csv_is_one_table_without_formulas() {
    let path = "/api/v1/profiles/p1/report?from=2026-11-24&to=2026-11-24&format=csv";
    let answer = get(&open(), path).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"treehook-2026-11-24-2026-11-24.csv\""
    );
    let expected = [
        "section,key,name,url,views,clicks,unique_visitors,ctr,pct",
        "summary,p1,,,6,3,7,0.5,",
        "series,2026-11-24T00:00:00Z,,,6,3,,,",
        "link,l1,Shop,https://example.com/l1,,3,2,0.5,",
        "link,l2,'=1+1,https://example.com/l2,,1,0,0.1667,",
        "country,DE,,,,3,,,75",
        "country,unknown,,,,1,,,25",
        "referrer,direct,,,,4,,,100",
        "device,mobile,,,,,,,100",
        "device,desktop,,,,,,,0",
        "device,tablet,,,,,,,0",
        "device,unknown,,,,,,,0",
        "milestone,2026-11-24T10:30:00.000Z,l1,,,3,,,",
        "",
    ];
    assert_eq!(answer.text, expected.join("\r\n"));
}

#[tokio::test]
async fn an_id_with_a_slash_is_found_when_it_is_escaped() {
    let found = answer("/api/v1/profiles/p3%2Fx/analytics").await;
    assert_eq!(found["profile_id"], "p3/x");
}

#[tokio::test]
async fn the_same_question_is_put_to_the_store_once() {
    let store = small();
    let queries = store.queries.clone();
    let router = console(store, Access::Open, Limits::default());
    let path = "/api/v1/profiles/p1/report";
    let first = get(&router, path).await;
    let asked = queries.load(Ordering::Relaxed);
    let second = get(&router, path).await;
    assert_eq!(queries.load(Ordering::Relaxed), asked);
    assert_eq!(first.text, second.text);
    assert_eq!(second.header("content-type"), "application/json");
    get(&router, &format!("{path}?limit=5")).await;
    assert!(queries.load(Ordering::Relaxed) > asked);
}

#[tokio::test]
async fn live_figures_are_the_last_thirty_minutes() {
    let live = get(&open(), "/api/v1/profiles/p1/live").await.json();
    // The current minute is among them; the one to come is not, and neither is what is older.
    assert_eq!((&live["views"], &live["clicks"]), (&20.into(), &2.into()));
    assert_eq!((&live["previous"]["views"], &live["previous"]["clicks"]), (&20.into(), &2.into()));
    let series = live["series"].as_array().unwrap();
    assert_eq!(series.len(), 30);
    assert_eq!(series[0]["at"], live["start"]);
    assert_eq!((&series[0]["views"], &series[29]["clicks"]), (&10.into(), &1.into()));
    assert_eq!(live["previous"]["end"], live["start"]);
}
