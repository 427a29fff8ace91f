//! Time in answers: zones cut days, what is kept by UTC day says so, and the period before stands
//! beside each figure.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::small::{get, open};

async fn answer(path: &str) -> Value {
    let answer = get(&open(), &format!("/api/v1/profiles/p1/{path}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn days_are_cut_at_the_zones_midnight() {
    let days = answer("analytics?period=last_7_days&tz=Europe/Berlin").await;
    assert_eq!(days["tz"], "Europe/Berlin");
    assert_eq!(days["start"], "2026-11-17T23:00:00Z");
    assert_eq!(days["end"], "2026-11-24T23:00:00Z");
    let series = days["series"].as_array().unwrap();
    assert_eq!(series.len(), 7);
    assert_eq!(series[6], json!({"at": "2026-11-23T23:00:00Z", "views": 6, "clicks": 3}));
    let report = answer("report?from=2026-11-23&to=2026-11-24&tz=America/New_York").await;
    assert_eq!(
        (&report["start_date"], &report["end_date"]),
        (&json!("2026-11-23"), &json!("2026-11-24"))
    );
    assert_eq!(report["start"], "2026-11-23T05:00:00Z");
}

#[tokio::test]
async fn a_zone_that_cannot_cut_days_still_answers_where_none_are_cut() {
    let day = answer("analytics?period=last_24_hours&tz=Asia/Kathmandu").await;
    assert_eq!(day["tz"], "Asia/Kathmandu");
    assert_eq!(day["series"].as_array().unwrap().len(), 24);
}

#[tokio::test]
async fn what_is_kept_by_utc_day_says_which_days_it_counts() {
    let moments = "from=2026-11-24T09:00:00Z&to=2026-11-24T11:00:00Z";
    for (path, from, to) in [
        ("analytics", "unique_visitors_from", "unique_visitors_to"),
        ("links", "unique_visitors_from", "unique_visitors_to"),
        ("audience", "days_from", "days_to"),
    ] {
        let part = answer(&format!("{path}?{moments}")).await;
        assert_eq!(part["start"], "2026-11-24T09:00:00Z", "{path}");
        assert_eq!(part[from], "2026-11-24T00:00:00Z", "{path}");
        assert_eq!(part[to], "2026-11-25T00:00:00Z", "{path}");
    }
    let sheet = get(&open(), &format!("/api/v1/profiles/p1/report?{moments}&format=csv")).await;
    assert!(sheet.text.contains("\r\ndays,2026-11-24T00:00:00Z,2026-11-25T00:00:00Z,"));
    let berlin = answer("report?period=last_7_days&tz=Europe/Berlin").await;
    assert_eq!(berlin["unique_visitors_from"], "2026-11-17T00:00:00Z");
    assert_eq!(berlin["days_to"], "2026-11-25T00:00:00Z");
}

#[tokio::test]
async fn the_period_before_stands_beside_each_figure() {
    let period = "from=2026-11-05&to=2026-11-24&compare=previous";
    let report = answer(&format!("report?{period}")).await;
    assert_eq!(
        report["previous"],
        json!({
            "start": "2026-10-16T00:00:00Z", "end": "2026-11-05T00:00:00Z",
            "views": 4, "clicks": 1, "ctr": 0.25, "unique_visitors": 7,
            "unique_visitors_from": "2026-10-16T00:00:00Z",
            "unique_visitors_to": "2026-11-05T00:00:00Z",
        })
    );
    let link = &report["links"][0]["previous"];
    assert_eq!(*link, json!({"clicks": 3, "unique_visitors": 2, "ctr": 0.75}));
    assert_eq!(report["locations"][0]["previous_clicks"], 3);
    assert_eq!(report["referrers"][0]["previous_visits"], 4);
    assert_eq!(report["devices"]["previous"]["mobile"], 100.0);
    assert_eq!(report["previous_days_to"], "2026-11-05T00:00:00Z");
    for path in ["analytics", "links", "audience"] {
        assert!(answer(&format!("{path}?{period}")).await.to_string().contains("previous"));
    }
    let clicks = answer(&format!("report?{period}&metrics=clicks")).await;
    assert!(clicks["previous"].get("views").is_none());
    assert_eq!(clicks["previous"]["clicks"], 1);
}

#[tokio::test]
async fn a_spreadsheet_has_the_period_before_in_columns_of_its_own() {
    let path =
        "/api/v1/profiles/p1/report?from=2026-11-24&to=2026-11-24&format=csv&compare=previous";
    let text = get(&open(), path).await.text;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(
        "pct,previous_views,previous_clicks,previous_unique_visitors,previous_ctr,previous_pct"
    ));
    assert_eq!(lines[1], "summary,p1,,,6,3,7,0.5,,0,0,7,,");
    assert!(lines.contains(&"country,DE,,,,3,,,75,,3,,,"));
}

#[tokio::test]
async fn a_trend_follows_one_row() {
    let link = answer("trend?link=l1&period=last_7_days&compare=previous").await;
    assert_eq!(link["series"].as_array().unwrap().len(), 7);
    assert_eq!((&link["by"], &link["value"]), (&json!("link"), &json!("l1")));
    assert_eq!(link["previous_clicks"], 3);
    let country = answer("trend?country=DE&period=last_7_days").await;
    assert_eq!(country["clicks"], 21, "the canned store gives each day the same");
    assert_eq!(answer("trend?referrer=nowhere.example&period=last_7_days").await["clicks"], 0);
    assert_eq!(
        answer("trend?link=l1&period=last_24_hours").await["series"][0]["at"],
        "2026-11-23T11:00:00Z"
    );
}

#[tokio::test]
async fn an_answer_says_how_long_it_may_be_kept_and_is_not_sent_twice() {
    let router = open();
    for (query, keep) in [("from=2026-11-01&to=2026-11-02", 900), ("period=last_7_days", 5)] {
        for path in ["analytics", "links", "audience", "report", "trend"] {
            let of_link = if path == "trend" { "&link=l1" } else { "" };
            let path = format!("/api/v1/profiles/p1/{path}?{query}{of_link}");
            let first = get(&router, &path).await;
            let expected = format!("private, max-age={keep}");
            assert_eq!(first.header("cache-control"), expected, "{path}");
            assert!(first.header("vary").contains("authorization, cookie"), "{path}");
            let again = crate::small::send(
                &router,
                axum::http::Request::get(&path)
                    .header("if-none-match", first.header("etag"))
                    .body(axum::body::Body::empty())
                    .unwrap(),
            )
            .await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(again.text, "", "{path}");
            assert_eq!(again.header("cache-control"), expected, "{path}");
        }
    }
}
