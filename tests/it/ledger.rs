//! The ledger as people read it: what `verify` says when a broker has lost what it had confirmed.

use serde_json::{Value, json};

use crate::harness::{Client, Deployment, eventually, now};

/// A delivery of so many clicks.
fn clicks(name: &str, count: usize) -> Value {
    let click = |n| {
        json!({
            "id": format!("{name}{n}"), "type": "link.clicked", "timestamp": now().as_seconds(),
            "data": {"profile_id": "p1", "link_id": "l1", "visitor_id": "v1"}
        })
    };
    (0..count).map(click).collect()
}

#[tokio::test]
async fn what_a_broker_has_lost_is_missing_by_number_and_verify_fails() {
    let deployment = Deployment::server().await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    assert_eq!(client.post(receiver.public(), &clicks("kept", 3)).await.0, 202);
    let worker = deployment.start(&["work"]).await;
    eventually("three are counted", async || {
        client.metric(worker.admin, "treehook_events_applied_total").await == 3
    })
    .await;
    assert_eq!(worker.terminate().await, 0);
    let said = deployment.output(&["verify"]).await;
    assert!(
        said.contains("3 accepted = 3 applied + 0 duplicates + 0 dead + 0 in flight"),
        "{said}"
    );

    assert_eq!(client.post(receiver.public(), &clicks("lost", 5)).await.0, 202);
    assert!(deployment.lose_messages().await > 0);
    assert_eq!(client.post(receiver.public(), &clicks("after", 2)).await.0, 202);
    let worker = deployment.start(&["work"]).await;
    eventually("two more are counted", async || {
        client.metric(worker.admin, "treehook_events_applied_total").await == 2
    })
    .await;
    // What was promised last is stated at the end at the latest.
    assert_eq!(receiver.terminate().await, 0);
    eventually("the receiver's last statement is in", async || {
        let said = deployment.run(&["verify", "--grace", "1s"]).await;
        String::from_utf8_lossy(&said.stdout).contains("10 accepted")
    })
    .await;

    let verified = deployment.run(&["verify", "--grace", "1s"]).await;
    let said = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1), "{said}");
    let balance = "10 accepted = 5 applied + 0 duplicates + 0 dead + 5 in flight; 0 void";
    assert!(said.contains(&format!("ledger linktree: {balance}\n")), "{said}");
    let missing = "ledger linktree: 5 promised events are missing: numbers 3-7 of receiver ";
    assert!(said.contains(missing), "{said}");
    // The rollups are as sound as the archive: the count is not what is wrong.
    assert!(said.contains("every rollup equals the archive (5 events applied)"), "{said}");
    assert_eq!(worker.terminate().await, 0);
    deployment.end().await;
}
