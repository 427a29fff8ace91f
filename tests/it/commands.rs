//! The commands as people type them: exit codes, messages, formats.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::Value;

use crate::fixtures::click_envelope;
use crate::harness::{Client, Deployment, eventually};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_demo_counts_its_month_and_leaves_nothing_behind() {
    let mut deployment = Deployment::embedded();
    let dir = deployment.other_dir("tmp");
    std::fs::create_dir(&dir).unwrap();
    deployment.set("TMPDIR", &dir.display().to_string());
    let said = deployment.output(&["demo", "--events", "3000", "--exit"]).await;
    assert!(said.contains("3000 of 3000 events counted"), "{said}");
    assert!(said.contains("Dashboard: http://127.0.0.1:"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "something is left behind");
}

#[tokio::test]
async fn wrong_configuration_is_exit_2_with_setting_and_remedy() {
    for (variables, arguments, parts) in [
        (
            vec![("TREEHOOK_LINKTREE_SECRET", "")],
            vec!["serve"],
            vec!["TREEHOOK_LINKTREE_SECRET is not set"],
        ),
        (
            vec![("TREEHOOK_AMQP_URL", "amqp://127.0.0.1:1")],
            vec!["serve"],
            vec!["TREEHOOK_DATABASE_URL is not set"],
        ),
        (vec![], vec!["receive"], vec!["TREEHOOK_AMQP_URL is not set"]),
        (
            vec![("TREEHOOK_AMQP_URL", "amqp://127.0.0.1:1")],
            vec!["work"],
            vec!["TREEHOOK_DATABASE_URL is not set"],
        ),
        (
            vec![("TREEHOOK_MAX_BODY", "x"), ("TREEHOOK_TYPO", "1")],
            vec!["serve"],
            vec!["TREEHOOK_MAX_BODY: `x`", "unknown variable TREEHOOK_TYPO"],
        ),
        (
            vec![],
            vec!["serve", "--retention", "1m"],
            vec!["--retention: identities must be remembered"],
        ),
        (
            vec![("TREEHOOK_STANDARD_SECRET", "whsec_@@")],
            vec!["serve"],
            vec!["TREEHOOK_STANDARD_SECRET: secret 0"],
        ),
        (
            vec![],
            vec!["serve", "--config", "nowhere.toml"],
            vec!["nowhere.toml (--config): cannot be read"],
        ),
        (vec![], vec!["frobnicate"], vec!["frobnicate"]),
    ] {
        let mut deployment = Deployment::embedded();
        for (name, value) in variables {
            deployment.set(name, value);
        }
        let output = deployment.run(&arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part} is not in {said}");
        }
    }
}

#[tokio::test]
async fn a_variable_in_another_encoding_is_named_and_not_shown() {
    let deployment = Deployment::embedded();
    let secret = OsString::from_vec(b"\xffhush".to_vec());
    for (name, code) in [("TREEHOOK_DUB_SECRET", 2), ("LESSOPEN", 0)] {
        let output = deployment.run_with(&["migrate"], (name, &secret)).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.contains(name), code == 2, "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_a_wrong_setting() {
    let mut deployment = Deployment::server().await;
    let url = format!("{}_gone", deployment.environment["TREEHOOK_DATABASE_URL"]);
    deployment.set("TREEHOOK_DATABASE_URL", &url);
    let output = deployment.run(&["migrate"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("TREEHOOK_DATABASE_URL: "), "{said}");
    deployment.end().await;
}

#[tokio::test]
async fn every_command_shows_an_example() {
    let deployment = Deployment::embedded();
    for command in [
        "serve",
        "receive",
        "work",
        "console",
        "migrate",
        "demo",
        "simulate",
        "report",
        "verify",
        "dead list",
        "dead show",
        "dead redrive",
        "dead discard",
        "outbox status",
        "outbox replay",
        "webhooks register",
        "webhooks list",
        "webhooks delete",
        "dead",
        "outbox",
        "webhooks",
        "",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let said = deployment.output(&arguments).await;
        assert!(said.contains("Example:"), "{command}: {said}");
    }
}

#[tokio::test]
async fn a_report_is_the_same_for_people_programs_and_the_api() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    for n in 0..3 {
        let body = click_envelope(&format!("e{n}"), "p1", "l1", "ann");
        assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    }
    eventually("they count", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&3)
    })
    .await;
    let json = deployment.output(&["report", "--profile", "p1", "--format", "json"]).await;
    let printed: Value = serde_json::from_str(&json).unwrap();
    let answered = client.get(treehook.admin, "/api/v1/profiles/p1/report").await;
    assert_eq!(printed, answered);
    assert_eq!(printed["clicks"], 3);
    let table = deployment.output(&["report", "--profile", "p1"]).await;
    assert!(
        table.contains("l1") && table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    let csv = deployment.output(&["report", "--profile", "p1", "--format", "csv"]).await;
    assert!(csv.lines().count() > 1, "{csv}");
    let all = deployment.output(&["report"]).await;
    assert!(all.contains("p1"), "{all}");

    let missing = deployment.run(&["report", "--profile", "nobody"]).await;
    assert_eq!(missing.status.code(), Some(1));
    let wrong = deployment.run(&["report", "--profile", "p1", "--period", "yesterday"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    assert!(text(&wrong.stderr).contains("last_30_days"));
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn looking_at_nothing_says_what_is_missing() {
    let deployment = Deployment::embedded();
    for arguments in
        [vec!["report"], vec!["verify"], vec!["dead", "list"], vec!["outbox", "status"]]
    {
        let output = deployment.run(&arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("data"), "{arguments:?}: {said}");
        assert!(!deployment.data_dir().join("store.db").exists(), "{arguments:?} made a store");
    }
}

#[tokio::test]
async fn the_api_is_closed_without_a_token_and_open_with_it() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_API_TOKEN", "0123456789abcdef-token");
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let (status, answer) = client.text(treehook.admin, "/api/v1/status").await;
    assert_eq!(status, 401, "{answer}");
    assert_eq!(client.text(treehook.admin, "/metrics").await.0, 200);
    let http = reqwest::Client::new();
    let with = http
        .get(format!("http://{}/api/v1/status", treehook.admin))
        .bearer_auth("0123456789abcdef-token")
        .send()
        .await
        .unwrap();
    assert_eq!(with.status(), 200);
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn every_promised_metric_is_there() {
    let deployment = Deployment::server().await;
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    // Before that, deliveries are spooled: another outcome.
    eventually("the broker is up", async || {
        client.metric(treehook.admin, "treehook_broker_up").await == 1
    })
    .await;
    let now = crate::harness::now().as_seconds();
    for body in [
        click_envelope("e1", "p1", "l1", "ann"),
        click_envelope("e1", "p1", "l1", "ann"),
        serde_json::json!({"type": "tip.received", "timestamp": now, "data": {}}),
        serde_json::json!({"type": "link.clicked", "timestamp": now, "data": {}}),
    ] {
        assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    }
    eventually("all are dealt with", async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        status["applied"] == 2 && status["dead"] == 1 && status["duplicates"] == 1
    })
    .await;
    let mut missing = Vec::new();
    eventually("every metric has shown up", async || {
        let (_, text) = client.text(treehook.admin, "/metrics").await;
        missing = PROMISED.iter().filter(|promised| !text.contains(**promised)).collect();
        missing.is_empty()
    })
    .await;
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

/// INTERFACE.md, with labels.
const PROMISED: [&str; 26] = [
    "treehook_deliveries_total{source=\"linktree\",outcome=\"accepted\"}",
    "treehook_delivery_duration_seconds_bucket{source=\"linktree\"",
    "treehook_events_accepted_total{source=\"linktree\",type=\"link.clicked\"}",
    "treehook_events_applied_total{type=\"link.clicked\"} 1",
    "treehook_events_duplicate_total 1",
    "treehook_events_dead_total{reason=\"missing_field\"} 1",
    "treehook_events_unknown_total{type=\"tip.received\"} 1",
    "treehook_event_lag_seconds_bucket{",
    "treehook_outbox_events 0",
    "treehook_outbox_bytes 0",
    "treehook_outbox_oldest_seconds 0",
    "treehook_outbox_replayed_total ",
    "treehook_broker_up 1",
    "treehook_broker_blocked 0",
    "treehook_database_up 1",
    "treehook_broker_reconnects_total ",
    "treehook_publish_confirm_seconds_bucket{",
    "treehook_apply_duration_seconds_bucket{",
    "treehook_apply_batch_events_bucket{",
    "treehook_dead_letters 1",
    "treehook_secret_matches_total{source=\"linktree\",secret=\"0\"}",
    "treehook_build_info{version=\"",
    "# TYPE treehook_delivery_duration_seconds histogram",
    "# TYPE treehook_deliveries_total counter",
    "# TYPE treehook_outbox_events gauge",
    "# HELP treehook_events_applied_total ",
];
