//! Server mode: receivers and workers as processes of their own, on RabbitMQ and Postgres.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fixtures::click_envelope;
use crate::harness::{Client, Deployment, OwnPostgres, eventually};
use crate::traffic::{send, ten_thousand_clicks};

#[tokio::test]
async fn ten_thousand_clicks_are_counted_exactly_by_one_process() {
    let deployment = Deployment::server().await;
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let run = send(treehook.public(), ten_thousand_clicks(7), None).await;
    run.assert_all_accepted();
    run.assert_no_refusals();
    run.assert_counted(&client, treehook.admin).await;
    let said = deployment.output(&["verify"]).await;
    assert!(said.contains("every rollup equals the archive"), "{said}");
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

#[tokio::test]
async fn two_receivers_and_three_workers_share_the_work_exactly() {
    // A Postgres of its own, so that its log speaks of this test alone.
    let postgres = OwnPostgres::start().await;
    let amqp = std::env::var("TREEHOOK_TEST_AMQP_URL").expect("make test names one");
    let deployment = Deployment::server_on(&amqp, &postgres.url).await;
    let client = Client::new();
    let second_dir = deployment.other_dir("second").display().to_string();
    let first = deployment.start(&["receive"]).await;
    // One of them compresses, and no worker has to know of it.
    let its_own = [("TREEHOOK_DATA_DIR", &*second_dir), ("TREEHOOK_AMQP_COMPRESSION", "lz4")];
    let second = deployment.start_with(&["receive"], &its_own).await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        // Small steps, so that every worker gets a share whichever is first.
        let few = [("TREEHOOK_PREFETCH", "8"), ("TREEHOOK_BATCH_MAX", "50")];
        workers.push(deployment.start_with(&["work"], &few).await);
    }
    // Both receivers get the same deliveries: half of everything is a duplicate.
    let (one, two) = tokio::join!(
        send(first.public(), ten_thousand_clicks(1), None),
        send(second.public(), ten_thousand_clicks(1), None),
    );
    for run in [&one, &two] {
        run.assert_all_accepted();
        run.assert_no_refusals();
    }
    one.assert_counted(&client, workers[0].admin).await;
    deployment.output(&["verify"]).await;
    for worker in &workers {
        let applied = client.metric(worker.admin, "treehook_events_applied_total").await;
        assert!(applied > 0, "a worker did nothing");
    }
    let log = postgres.log();
    assert!(!log.contains("deadlock"), "{log}");
    for process in workers.into_iter().chain([first, second]) {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    postgres.end().await;
}

#[tokio::test]
async fn postgres_alone_keeps_the_queue_local() {
    let mut deployment = Deployment::server().await;
    deployment.environment.remove("TREEHOOK_AMQP_URL");
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let run = send(treehook.public(), ten_thousand_clicks(20), None).await;
    run.assert_all_accepted();
    run.assert_no_refusals();
    run.assert_counted(&client, treehook.admin).await;
    let status = client.get(treehook.admin, "/api/v1/status").await;
    assert_eq!(status["broker"], "none");
    deployment.output(&["verify"]).await;
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

#[tokio::test]
async fn applied_events_are_announced() {
    use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
    use lapin::types::FieldTable;

    let deployment = Deployment::server().await;
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    eventually("the broker is up", async || {
        client.metric(treehook.admin, "treehook_broker_up").await == 1
    })
    .await;
    let environment = &deployment.environment;
    let properties = lapin::ConnectionProperties::default();
    let connection =
        lapin::Connection::connect(&environment["TREEHOOK_AMQP_URL"], properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let own = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.unwrap();
    let exchange = format!("{}applied", environment["TREEHOOK_AMQP_PREFIX"]);
    channel
        .queue_bind(
            queue.name().clone(),
            exchange.into(),
            "linktree.link.*".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let body = click_envelope("e1", "p1", "l1", "ann");
    assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    let mut message = None;
    eventually("the announcement arrives", async || {
        let options = BasicGetOptions { no_ack: true };
        message = channel.basic_get(queue.name().clone(), options).await.unwrap();
        message.is_some()
    })
    .await;
    let delivery = message.unwrap().delivery;
    assert_eq!(delivery.routing_key.as_str(), "linktree.link.clicked");
    let events: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
    assert_eq!(events[0]["specversion"], "1.0");
    assert_eq!(events[0]["id"], "e1");
    assert_eq!(events[0]["type"], "link.clicked");
    assert_eq!(delivery.properties.delivery_mode(), &Some(2));
    assert_eq!(delivery.properties.app_id().as_ref().unwrap().as_str(), "treehook");
    assert!(delivery.properties.message_id().is_some());
    connection.close(200, "done".into()).await.unwrap();
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

#[tokio::test]
async fn a_worker_replays_the_outbox_of_a_lost_receiver() {
    let mut deployment = Deployment::server().await;
    let good = deployment.environment["TREEHOOK_AMQP_URL"].clone();
    let client = Client::new();
    // A broker that is not there: everything goes to the outbox.
    deployment.set("TREEHOOK_AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let receiver = deployment.start(&["receive"]).await;
    for n in 0..10 {
        let body = click_envelope(&format!("e{n}"), "p1", "l1", "ann");
        assert_eq!(client.post(receiver.public(), &body).await.0, 202);
    }
    let ready = client.get(receiver.public(), "/readyz").await;
    assert_eq!((ready["status"].as_str(), ready["broker"].as_str()), (Some("ready"), Some("down")));
    let status = deployment.output(&["outbox", "status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["events"], 10);
    receiver.kill().await;

    deployment.set("TREEHOOK_AMQP_URL", &good);
    let dir = deployment.data_dir().display().to_string();
    let worker = deployment.start(&["work", "--outbox", &dir]).await;
    eventually("all ten count", async || {
        client.clicks(worker.admin, "p1").await == BTreeMap::from([("l1".to_owned(), 10)])
    })
    .await;
    assert_eq!(client.metric(worker.admin, "treehook_outbox_replayed_total").await, 10);
    assert_eq!(worker.terminate().await, 0);
    let status = deployment.output(&["outbox", "status"]).await;
    assert!(status.contains("events  0"), "{status}");
    deployment.end().await;
}

#[tokio::test]
async fn dead_letters_are_redriven_through_the_broker() {
    let deployment = Deployment::server().await;
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let now = crate::harness::now().as_seconds();
    let body = json!({"id": "future", "type": "link.clicked", "timestamp": now + 3602,
        "data": {"profile_id": "p1", "link_id": "l1"}});
    assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    eventually("it is buried", async || {
        client.get(treehook.admin, "/api/v1/status").await["dead"] == 1
    })
    .await;
    eventually("the future has come", async || crate::harness::now().as_seconds() > now + 3).await;
    deployment.output(&["dead", "redrive", "--all"]).await;
    eventually("it counts", async || {
        client.clicks(treehook.admin, "p1").await == BTreeMap::from([("l1".to_owned(), 1)])
    })
    .await;
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}
