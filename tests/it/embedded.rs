//! Embedded mode: one process, one directory, nothing else.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fixtures::click_envelope;
use crate::harness::{Client, DEADLINE, Deployment, eventually};
use crate::traffic::{send, ten_thousand_clicks};

#[tokio::test]
async fn ten_thousand_clicks_are_counted_exactly() {
    let deployment = Deployment::embedded();
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    for batch in [1, 40] {
        let mut plan = ten_thousand_clicks(batch);
        plan.seed = batch as u64;
        let run = send(treehook.public(), plan, None).await;
        run.assert_all_accepted();
        run.assert_no_refusals();
        assert!(run.expected.clicks() >= 10_000, "{} clicks", run.expected.clicks());
        if batch == 1 {
            run.assert_counted(&client, treehook.admin).await;
        }
    }
    eventually("the queue is empty", async || {
        client.get(treehook.admin, "/api/v1/status").await["queue"]["events"] == 0
    })
    .await;
    let said = deployment.output(&["verify"]).await;
    assert!(said.contains("every rollup equals the archive"), "{said}");
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn what_was_accepted_survives_a_kill_and_counts_once() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let mut treehook = deployment.start(&["serve"]).await;
    let address = treehook.public().to_string();
    let plan = ten_thousand_clicks(3);
    let to = treehook.public();
    let sending = tokio::spawn(send(to, plan, Some(400.0)));
    for round in 0..4 {
        let admin = treehook.admin;
        let already = client.metric(admin, "treehook_events_accepted_total").await;
        eventually("some more is accepted", async || {
            client.metric(admin, "treehook_events_accepted_total").await > already + 150
        })
        .await;
        assert!(!sending.is_finished(), "round {round} came too late to matter");
        treehook.kill().await;
        treehook = deployment.start_with(&["serve"], &[("TREEHOOK_LISTEN", &address)]).await;
    }
    let run = tokio::time::timeout(DEADLINE * 2, sending).await.unwrap().unwrap();
    run.assert_all_accepted();
    run.assert_counted(&client, treehook.admin).await;
    deployment.output(&["verify"]).await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_retried_delivery_gets_the_same_ids_and_counts_once() {
    let deployment = Deployment::embedded();
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let mut body = click_envelope("e1", "p1", "l1", "ann");
    body.as_object_mut().unwrap().remove("id");
    let batch = json!([body, click_envelope("e2", "p1", "l1", "bob")]);
    let first = client.post(treehook.public(), &batch).await;
    let second = client.post(treehook.public(), &batch).await;
    assert_eq!(first.0, 202);
    assert_eq!(first, second);
    assert_eq!(first.1["events"], 2);
    eventually("both deliveries are dealt with", async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        status["applied"] == 2 && status["duplicates"] == 2
    })
    .await;
    let clicks = client.clicks(treehook.admin, "p1").await;
    assert_eq!(clicks, BTreeMap::from([("l1".to_owned(), 2)]));
    let path = "/api/v1/profiles/p1/audience?period=last_7_days";
    let audience = client.get(treehook.admin, path).await;
    assert_eq!(audience["locations"][0]["country"], "DE");
    assert_eq!(audience["referrers"][0]["source"], "instagram.com");
    assert_eq!(audience["devices"]["mobile"], 100.0);
}

#[tokio::test]
async fn personal_data_is_nowhere_on_disk_or_in_the_log() {
    let deployment = Deployment::embedded();
    let mut environment = deployment;
    environment.set("TREEHOOK_LOG", "trace");
    let deployment = environment;
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let click = click_envelope("e1", "p1", "l1", "marker-visitor");
    assert_eq!(client.post(treehook.public(), &click).await.0, 202);
    let lead = json!({
        "type": "lead.created", "timestamp": 1_795_000_000,
        "data": {"customer": {"id": "c", "name": "marker-name", "email": "marker@example.com"}}
    });
    assert_eq!(client.post(treehook.public(), &lead).await.0, 202);
    let broken = json!({
        "type": "link.clicked", "timestamp": crate::harness::now().as_seconds(),
        "data": {"profile_id": "p1", "ip": "203.0.113.77", "visitor_id": "marker-visitor"}
    });
    assert_eq!(client.post(treehook.public(), &broken).await.0, 202);
    eventually("all of it is dealt with", async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        status["applied"] == 2 && status["dead"] == 1
    })
    .await;
    let (_, metrics) = client.text(treehook.admin, "/metrics").await;
    let mut seen = vec![
        ("log".to_owned(), treehook.log().into_bytes()),
        ("metrics".to_owned(), metrics.into_bytes()),
    ];
    let id = deployment.output(&["dead", "list", "--json"]).await;
    let id = serde_json::from_str::<serde_json::Value>(&id).unwrap()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    seen.push(("dead".to_owned(), deployment.output(&["dead", "show", &id]).await.into_bytes()));
    for entry in std::fs::read_dir(deployment.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        seen.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    for (name, bytes) in &seen {
        for secret in ["marker-", "marker@", "203.0.113.77", crate::harness::SECRET] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {name}");
        }
    }
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_drained_process_loses_nothing_it_accepted() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    for n in 0..20 {
        let body = click_envelope(&format!("e{n}"), "p1", "l1", "ann");
        assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    }
    assert_eq!(treehook.terminate().await, 0);
    let treehook = deployment.start(&["serve"]).await;
    eventually("all are counted", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&20)
    })
    .await;
}

#[tokio::test]
async fn two_processes_do_not_share_a_directory() {
    let deployment = Deployment::embedded();
    let treehook = deployment.start(&["serve"]).await;
    let second = deployment.run(&["serve"]).await;
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("in use by another treehook") && said.contains("TREEHOOK_DATA_DIR"),
        "{said}"
    );
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn dead_letters_are_listed_redriven_and_discarded() {
    let deployment = Deployment::embedded();
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    let now = crate::harness::now().as_seconds();
    let envelope = |id: &str, at: i64, data: serde_json::Value| json!({"id": id, "type": "link.clicked", "timestamp": at, "data": data});
    let batch = json!([
        envelope("missing", now, json!({"profile_id": "p1"})),
        // Due in three seconds: by then it is no longer too far ahead.
        envelope("future", now + 3603, json!({"profile_id": "p1", "link_id": "l1"})),
        envelope("expired", now - 401 * 86_400, json!({"profile_id": "p1", "link_id": "l1"})),
        envelope("good", now, json!({"profile_id": "p1", "link_id": "l1"})),
    ]);
    assert_eq!(client.post(treehook.public(), &batch).await.0, 202);
    eventually("three are buried and one counts", async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        status["applied"] == 1 && status["dead"] == 3
    })
    .await;
    let listed = deployment.output(&["dead", "list"]).await;
    for reason in ["missing_field:link_id", "future_timestamp", "expired"] {
        assert!(listed.contains(reason), "{listed}");
    }
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert_eq!(client.metric(treehook.admin, "treehook_events_dead_total").await, 3);

    eventually("the future has come", async || crate::harness::now().as_seconds() > now + 3).await;
    deployment.output(&["dead", "redrive", "--reason", "future_timestamp"]).await;
    eventually("it counts", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&2)
    })
    .await;
    // What cannot be mended is buried again, and is not lost by being redriven.
    deployment.output(&["dead", "redrive", "--reason", "missing_field"]).await;
    eventually("it is buried again", async || {
        let letters =
            deployment.output(&["dead", "list", "--json", "--reason", "missing_field"]).await;
        serde_json::from_str::<serde_json::Value>(&letters).unwrap()[0]["attempts"].as_u64()
            >= Some(1)
    })
    .await;
    deployment.output(&["dead", "discard", "--all"]).await;
    eventually("none are left", async || {
        client.get(treehook.admin, "/api/v1/status").await["dead"] == 0
            || deployment.output(&["dead", "discard", "--all"]).await.is_empty()
    })
    .await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_full_queue_answers_503_and_recovers() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_OUTBOX_MAX", "2KiB");
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    let filler = "x".repeat(3000);
    let mut body = click_envelope("big", "p1", "l1", "ann");
    body["data"]["filler"] = filler.into();
    let (status, answer) = client.post(treehook.public(), &body).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("not_accepting")), "{answer}");
    let small = click_envelope("small", "p1", "l1", "ann");
    assert_eq!(client.post(treehook.public(), &small).await.0, 202);
    eventually("the small one counts", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&1)
    })
    .await;
    assert_eq!(treehook.terminate().await, 0);
}
