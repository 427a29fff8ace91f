//! Forgetting a person, in both modes.

use serde_json::Value;

use super::text;
use crate::fixtures::click_envelope;
use crate::harness::{Client, Deployment, eventually};

/// Counts visits, forgets a visitor, then the profile.
async fn forgets(deployment: &Deployment) {
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    for (id, visitor) in [("e1", "ann"), ("e2", "ann"), ("e3", "bob")] {
        let body = click_envelope(id, "p1", "l1", visitor);
        assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    }
    eventually("they count", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&3)
    })
    .await;
    let visitors = async || {
        // Not from the API: that may answer as it did a second ago.
        let json = deployment.output(&["report", "--profile", "p1", "--format", "json"]).await;
        let report: Value = serde_json::from_str(&json).unwrap();
        report["unique_visitors"].as_u64().unwrap()
    };
    assert_eq!(visitors().await, 2);

    let unasked = deployment.run(&["erase", "--visitor", "ann"]).await;
    assert_eq!(unasked.status.code(), Some(2), "{}", text(&unasked.stderr));
    assert!(text(&unasked.stderr).contains("--yes"));
    let said = deployment.output(&["erase", "--visitor", "ann", "--yes", "--json"]).await;
    let erased: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&erased["events"], &erased["sketches_kept"]), (&2.into(), &0.into()), "{said}");
    assert_eq!(visitors().await, 1);
    assert_eq!(client.clicks(treehook.admin, "p1").await.get("l1"), Some(&3));
    deployment.output(&["verify", "--repair"]).await;
    assert_eq!(visitors().await, 1, "a repair brought somebody back");
    let said = deployment.output(&["erase", "--visitor", "ann", "--yes"]).await;
    assert!(said.contains("nothing was kept about the visitor"), "{said}");

    let said = deployment.output(&["erase", "--profile", "p1", "--yes"]).await;
    assert!(said.contains("forgotten is the profile"), "{said}");
    let gone = deployment.run(&["report", "--profile", "p1"]).await;
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone.stdout));
    deployment.output(&["verify"]).await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn a_person_is_forgotten_in_embedded_mode() {
    forgets(&Deployment::embedded()).await;
}

#[tokio::test]
async fn a_person_is_forgotten_on_servers() {
    let deployment = Deployment::server().await;
    forgets(&deployment).await;
    deployment.end().await;
}

#[tokio::test]
async fn without_the_key_nobody_is_forgotten_in_silence() {
    let mut deployment = Deployment::embedded();
    deployment.set("TREEHOOK_VISITOR_KEY", "");
    let treehook = deployment.start(&["serve"]).await;
    assert_eq!(treehook.terminate().await, 0);
    std::fs::remove_file(deployment.data_dir().join("visitor.key")).unwrap();
    let output = deployment.run(&["erase", "--visitor", "ann", "--yes"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("TREEHOOK_VISITOR_KEY"), "{}", text(&output.stderr));
}
