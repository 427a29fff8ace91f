//! An event that kills the worker that counts it: it ends as a dead letter, and takes no neighbour with it. In server mode
//! the broker counts the deaths, in embedded mode the queue in the receiver's own process.
//!
//! Needs `--features test-hooks`: `make fire-poison`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

#[path = "../it"]
#[expect(dead_code, unused_imports, reason = "the stories use more of it")]
mod it {
    pub(crate) mod fixtures;
    pub(crate) mod harness;
}

use std::cell::Cell;

use it::fixtures::click_envelope;
use it::harness::{Client, Deployment, eventually};
use serde_json::Value;

/// What makes an event deadly. The field is not personal, so it stays in the payload.
const MARKER: &str = "deadly-marker";
/// Clicks before the deadly one, and as many after it.
const NEIGHBOURS: u32 = 60;

#[tokio::test]
async fn an_event_that_kills_every_worker_becomes_a_dead_letter_and_its_neighbours_count() {
    let mut deployment = Deployment::server().await;
    deployment.set("TREEHOOK_TEST_DEADLY_MARKER", MARKER);
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    eventually("the broker is up", async || {
        client.metric(receiver.admin, "treehook_broker_up").await == 1
    })
    .await;
    for number in 0..=2 * NEIGHBOURS {
        assert_eq!(client.post(receiver.public(), &numbered(number)).await.0, 202);
    }

    let deaths = Cell::new(0);
    let supervise = async {
        loop {
            let ended = deployment.run(&["work"]).await;
            assert_eq!(ended.status.code(), None, "it died of a signal: {ended:?}");
            deaths.set(deaths.get() + 1);
            assert!(deaths.get() < 60, "nobody gives the event up");
        }
    };
    let settled = async {
        let neighbours = u64::from(2 * NEIGHBOURS);
        eventually("every neighbour counts", async || {
            client.clicks(receiver.admin, "p1").await.get("l1") == Some(&neighbours)
        })
        .await;
        let mut letters = Value::Null;
        eventually("there is a dead letter", async || {
            let listed = deployment.output(&["dead", "list", "--json"]).await;
            letters = serde_json::from_str(&listed).unwrap();
            letters.as_array().is_some_and(|letters| !letters.is_empty())
        })
        .await;
        letters
    };
    let letters = tokio::select! {
        () = supervise => unreachable!("it restarts workers for ever"),
        letters = settled => letters,
    };
    assert!(deaths.get() > 20, "{} workers died of it, and it is a dead letter", deaths.get());
    assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
    assert_eq!(letters[0]["reason"], "delivery_limit", "{letters}");
    assert_eq!(receiver.terminate().await, 0);
    deployment.end().await;
}

/// A click that kills, or one that does not.
fn numbered(number: u32) -> Value {
    let mut body = click_envelope(&format!("e{number}"), "p1", "l1", "ann");
    if number == NEIGHBOURS {
        body["data"]["note"] = MARKER.into();
    }
    body
}

#[tokio::test]
async fn an_event_that_kills_the_only_process_becomes_a_dead_letter_and_its_neighbours_count() {
    let mut deployment = Deployment::embedded();
    let client = Client::new();
    // Accepted by a process that has no marker yet and is killed with all of it in the queue.
    deployment.set("TREEHOOK_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let treehook = deployment.start(&["serve"]).await;
    let all: Value = (0..=2 * NEIGHBOURS).map(numbered).collect();
    assert_eq!(client.post(treehook.public(), &all).await.0, 202);
    treehook.kill().await;
    deployment.environment.remove("TREEHOOK_DATABASE_URL");
    deployment.set("TREEHOOK_TEST_DEADLY_MARKER", MARKER);

    let mut deaths = 0;
    let treehook = loop {
        let mut child = deployment.spawn(&["serve"]);
        let letters = async {
            eventually("it died of it or buried it", async || {
                // Fails as long as there is no store.
                let listed = deployment.run(&["dead", "list", "--json"]).await;
                String::from_utf8_lossy(&listed.stdout).contains("delivery_limit")
            })
            .await;
        };
        tokio::select! {
            ended = child.wait() => {
                assert_eq!(ended.unwrap().code(), None, "it died of a signal");
                deaths += 1;
                assert!(deaths < 60, "nobody gives the event up");
            }
            () = letters => {
                child.kill().await.unwrap();
                break deployment.start(&["serve"]).await;
            }
        }
    };
    let neighbours = u64::from(2 * NEIGHBOURS);
    eventually("every neighbour counts", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&neighbours)
    })
    .await;
    let listed = deployment.output(&["dead", "list", "--json"]).await;
    let letters: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
    assert!(deaths >= 20, "{deaths} processes died of it, and it is a dead letter");
    deployment.output(&["verify", "--grace", "1s"]).await;
    assert_eq!(treehook.terminate().await, 0);
}
