//! Dead letters as people deal with them: found by what they are, redriven at a pace, killed half way,
//! and never without their history.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Client, Deployment, eventually, now};

/// Letters of a slow redrive: enough for a kill to land in the middle.
const LETTERS: usize = 120;

async fn listed(deployment: &Deployment, filter: &[&str]) -> Vec<Value> {
    let arguments = [&["dead", "list", "--limit", "1000", "--format", "json"], filter].concat();
    let printed = deployment.output(&arguments).await;
    serde_json::from_str(&printed).unwrap()
}

async fn status_is(client: &Client, treehook: &Process, applied: u64, dead: u64) {
    eventually(&format!("{applied} count and {dead} are dead"), async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        status["applied"] == applied && status["dead"] == dead
    })
    .await;
}

/// Clicks that are a little too far ahead: in `seconds` they will not be any more.
fn early(count: usize, seconds: i64) -> Vec<Value> {
    let at = now().as_seconds() + 3600 + seconds;
    let click = |n| {
        json!({
            "id": format!("early{n}"), "type": "link.clicked", "timestamp": at,
            "data": {"profile_id": "p1", "link_id": "l1", "visitor_id": format!("v{n}")}
        })
    };
    (0..count).map(click).collect()
}

async fn due(seconds: i64, since: i64) {
    eventually("they are due", async || now().as_seconds() > since + seconds).await;
}

/// The pipeline runs, and so many letters wait that are good by now.
async fn with_letters(deployment: &Deployment, client: &Client) -> Process {
    let treehook = deployment.start(&["serve"]).await;
    let since = now().as_seconds();
    let early = early(LETTERS, 3);
    assert_eq!(client.post(treehook.public(), &early.into()).await.0, 202);
    status_is(client, &treehook, 0, LETTERS as u64).await;
    due(3, since).await;
    treehook
}

/// Kills a slow redrive somewhere in its middle.
async fn redrive_and_kill(deployment: &Deployment) {
    let mut redrive = deployment.spawn(&["dead", "redrive", "--all", "--rate", "20"]);
    eventually("some are redriven", async || listed(deployment, &[]).await.len() < LETTERS - 10)
        .await;
    redrive.kill().await.unwrap();
    let left = listed(deployment, &[]).await.len();
    assert!(left > 10, "{left} are left: it was too late to kill it");
}

async fn all_count_once(deployment: &Deployment, client: &Client, treehook: &Process) {
    status_is(client, treehook, LETTERS as u64, 0).await;
    assert_eq!(client.clicks(treehook.admin, "p1").await["l1"], LETTERS as u64);
    let again = deployment.output(&["dead", "redrive", "--all"]).await;
    assert!(again.starts_with("redrove 0 dead letters"), "{again}");
    deployment.output(&["verify"]).await;
}

#[tokio::test]
async fn a_redrive_killed_half_way_is_run_again_and_everything_counts_once() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = with_letters(&deployment, &client).await;
    redrive_and_kill(&deployment).await;
    deployment.output(&["dead", "redrive", "--all"]).await;
    all_count_once(&deployment, &client, &treehook).await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_redrive_while_nothing_runs_counts_at_the_next_start() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = with_letters(&deployment, &client).await;
    assert_eq!(treehook.terminate().await, 0);
    redrive_and_kill(&deployment).await;
    let said = deployment.output(&["dead", "redrive", "--all"]).await;
    assert!(said.contains("when `treehook serve` is started again"), "{said}");
    let treehook = deployment.start(&["serve"]).await;
    all_count_once(&deployment, &client, &treehook).await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_redrive_killed_half_way_costs_nothing_in_server_mode_either() {
    let deployment = Deployment::server().await;
    let client = Client::new();
    let treehook = with_letters(&deployment, &client).await;
    redrive_and_kill(&deployment).await;
    deployment.output(&["dead", "redrive", "--all"]).await;
    all_count_once(&deployment, &client, &treehook).await;
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

async fn history_survives_a_redrive(deployment: &Deployment) {
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    let hopeless = json!({
        "id": "hopeless", "type": "link.clicked", "timestamp": now().as_seconds(),
        "data": {"profile_id": "p1"}
    });
    assert_eq!(client.post(treehook.public(), &hopeless).await.0, 202);
    status_is(&client, &treehook, 0, 1).await;
    let first = listed(deployment, &[]).await.remove(0);
    for attempts in 2..=3 {
        deployment.output(&["dead", "redrive", "--reason", "missing_field"]).await;
        eventually("it is back", async || {
            let letters = listed(deployment, &[]).await;
            letters.first().is_some_and(|letter| letter["attempts"] == attempts)
        })
        .await;
    }
    // By the console's way as well.
    let id = first["id"].as_str().unwrap();
    let path = format!("http://{}/api/v1/dead-letters/{id}/redrive", treehook.admin);
    let answer = reqwest::Client::new().post(path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    eventually("it is back again", async || {
        let letters = listed(deployment, &[]).await;
        letters.first().is_some_and(|letter| letter["attempts"] == 4)
    })
    .await;
    let last = listed(deployment, &[]).await.remove(0);
    assert_eq!(last["first_at"], first["first_at"]);
    assert!(last["last_at"].as_str() > first["last_at"].as_str(), "{last}");
    assert_eq!(last["id"], first["id"]);
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_letter_that_fails_again_keeps_its_history() {
    history_survives_a_redrive(&Deployment::embedded()).await;
    let deployment = Deployment::server().await;
    history_survives_a_redrive(&deployment).await;
    deployment.end().await;
}

#[tokio::test]
async fn letters_are_found_by_what_they_are_and_nothing_is_done_in_a_dry_run() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    let now = now().as_seconds();
    let batch = json!([
        {"id": "a", "type": "link.clicked", "timestamp": now, "data": {"profile_id": "p1"}},
        {"id": "b", "type": "link.clicked", "timestamp": now, "data": {"link_id": "l1"}},
        {"id": "c", "type": "profile.viewed", "timestamp": now + 9000, "data": {"profile_id": "p2"}},
    ]);
    assert_eq!(client.post(treehook.public(), &batch).await.0, 202);
    status_is(&client, &treehook, 0, 3).await;
    for (filter, found) in [
        (&["--reason", "missing_field"][..], &["a", "b"][..]),
        (&["--reason", "missing_field:link_id"], &["a"]),
        (&["--type", "profile.viewed"], &["c"]),
        (&["--profile", "p1"], &["a"]),
        (&["--profile", "p2", "--source", "linktree"], &["c"]),
        (&["--source", "dub"], &[]),
        (&["--older-than", "1h"], &[]),
        (&["--newer-than", "1h"], &["a", "b", "c"]),
    ] {
        let letters = listed(&deployment, filter).await;
        let mut identities: Vec<&str> =
            letters.iter().map(|letter| letter["identity"].as_str().unwrap()).collect();
        identities.sort_unstable();
        assert_eq!(identities, found, "{filter:?}");
        let dry = [&["dead", "redrive", "--dry-run"], filter].concat();
        let said = deployment.output(&dry).await;
        assert!(said.starts_with(&format!("would redrive {} dead letter", found.len())), "{said}");
    }
    let table = deployment.output(&["dead", "list"]).await;
    for part in ["missing_field:link_id", "linktree link.clicked p1", "attempts", " s\n"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert_eq!(listed(&deployment, &[]).await.len(), 3);
    let nothing_named = deployment.run(&["dead", "redrive"]).await;
    assert_eq!(nothing_named.status.code(), Some(2));
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_pace_is_kept() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = with_letters(&deployment, &client).await;
    let started = std::time::Instant::now();
    deployment.output(&["dead", "redrive", "--all", "--rate", "60"]).await;
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
    all_count_once(&deployment, &client, &treehook).await;
    assert_eq!(treehook.terminate().await, 0);
}
