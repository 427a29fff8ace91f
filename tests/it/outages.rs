//! Outages under load: servers stopped, connections cut and stalled, processes killed.

use std::time::Duration;

use url::Url;

use crate::fixtures::click_envelope;
use crate::harness::{
    Client, DEADLINE, Deployment, OwnPostgres, OwnRabbit, Proxy, TestDatabase, eventually, now,
};
use crate::traffic::{send, ten_thousand_clicks};

/// Waits for a moment on the wall clock: an outage has a length of its own.
async fn pass(outage: Duration) {
    let until = now().plus_millis(i64::try_from(outage.as_millis()).unwrap());
    eventually("the outage is over", async || now() > until).await;
}

/// A proxy before the server of a URL, and the URL that leads through it.
async fn through_proxy(url: &str) -> (Proxy, String) {
    let mut url = Url::parse(url).unwrap();
    let port = url.port().expect("test servers have a port of their own");
    let proxy = Proxy::to(([127, 0, 0, 1], port).into()).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    (proxy, url.into())
}

#[tokio::test]
async fn rabbitmq_stopped_for_twenty_seconds_costs_nothing() {
    let rabbit = OwnRabbit::start().await;
    let postgres = std::env::var("TREEHOOK_TEST_DATABASE_URL").expect("make test names one");
    let deployment = Deployment::server_on(&rabbit.url, &postgres).await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    let worker = deployment.start(&["work"]).await;
    let sending = tokio::spawn(send(receiver.public(), ten_thousand_clicks(2), Some(200.0)));
    eventually("the load runs", async || {
        client.metric(worker.admin, "treehook_events_applied_total").await > 200
    })
    .await;
    rabbit.stop().await;
    pass(Duration::from_secs(20)).await;
    assert!(!sending.is_finished(), "the load ended before the outage did");
    assert!(client.metric(receiver.admin, "treehook_outbox_events").await > 0);
    rabbit.restart().await;
    let run = tokio::time::timeout(DEADLINE * 3, sending).await.unwrap().unwrap();
    run.assert_all_accepted();
    run.assert_no_refusals();
    run.assert_counted(&client, worker.admin).await;
    eventually("the outbox drained by itself", async || {
        client.metric(receiver.admin, "treehook_outbox_events").await == 0
    })
    .await;
    assert!(client.metric(receiver.admin, "treehook_outbox_replayed_total").await > 0);
    deployment.output(&["verify"]).await;
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    rabbit.end().await;
}

#[tokio::test]
async fn postgres_stopped_for_twenty_seconds_costs_nothing() {
    let postgres = OwnPostgres::start().await;
    let amqp = std::env::var("TREEHOOK_TEST_AMQP_URL").expect("make test names one");
    let deployment = Deployment::server_on(&amqp, &postgres.url).await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    let worker = deployment.start(&["work"]).await;
    let sending = tokio::spawn(send(receiver.public(), ten_thousand_clicks(2), Some(200.0)));
    eventually("the load runs", async || {
        client.metric(worker.admin, "treehook_events_applied_total").await > 200
    })
    .await;
    postgres.stop().await;
    pass(Duration::from_secs(20)).await;
    assert!(!sending.is_finished(), "the load ended before the outage did");
    assert_eq!(client.metric(worker.admin, "treehook_database_up").await, 0);
    postgres.restart().await;
    let run = tokio::time::timeout(DEADLINE * 3, sending).await.unwrap().unwrap();
    run.assert_all_accepted();
    run.assert_no_refusals();
    run.assert_counted(&client, worker.admin).await;
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    deployment.output(&["verify"]).await;
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    postgres.end().await;
}

#[tokio::test]
async fn a_database_that_is_gone_for_fifteen_seconds_leaves_the_door_open() {
    let mut deployment = Deployment::embedded();
    let database = TestDatabase::create().await;
    deployment.set("TREEHOOK_DATABASE_URL", &database.url);
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    let applied = async |least: u64| {
        eventually("they are counted", async || {
            client.metric(treehook.admin, "treehook_events_applied_total").await >= least
        })
        .await;
    };
    let deliver = async |id: &str| {
        let body = click_envelope(id, "p1", "l1", "ann");
        client.try_post(treehook.public(), &body).await.map(|(status, _)| status).ok()
    };
    assert_eq!(deliver("before").await, Some(202));
    applied(1).await;
    database.put_aside().await;
    assert_eq!(deliver("meanwhile").await, Some(202));
    // The worker's patience ends after five seconds, and another turn begins.
    pass(Duration::from_secs(15)).await;
    assert_eq!(deliver("still").await, Some(202));
    database.put_back().await;
    applied(3).await;
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
    database.end().await;
}

#[tokio::test]
async fn receivers_and_workers_killed_under_load_cost_nothing() {
    let deployment = Deployment::server().await;
    let client = Client::new();
    let mut receiver = deployment.start(&["receive"]).await;
    let mut worker = deployment.start(&["work"]).await;
    let address = receiver.public().to_string();
    let sending = tokio::spawn(send(receiver.public(), ten_thousand_clicks(3), Some(400.0)));
    for round in 0..4 {
        let admin = worker.admin;
        let already = client.metric(admin, "treehook_events_applied_total").await;
        eventually("some more is applied", async || {
            client.metric(admin, "treehook_events_applied_total").await > already + 150
        })
        .await;
        assert!(!sending.is_finished(), "round {round} came too late to matter");
        if round % 2 == 0 {
            receiver.kill().await;
            receiver = deployment.start_with(&["receive"], &[("TREEHOOK_LISTEN", &address)]).await;
        } else {
            worker.kill().await;
            worker = deployment.start(&["work"]).await;
        }
    }
    let run = tokio::time::timeout(DEADLINE * 2, sending).await.unwrap().unwrap();
    run.assert_all_accepted();
    run.assert_counted(&client, worker.admin).await;
    deployment.output(&["verify"]).await;
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
}

#[tokio::test]
async fn an_event_accepted_while_the_broker_is_cut_off_is_counted_after_it() {
    let mut deployment = Deployment::server().await;
    let (proxy, url) = through_proxy(&deployment.environment["TREEHOOK_AMQP_URL"].clone()).await;
    deployment.set("TREEHOOK_AMQP_URL", &url);
    let treehook = deployment.start(&["serve"]).await;
    let client = Client::new();
    eventually("the broker is up", async || {
        client.metric(treehook.admin, "treehook_broker_up").await == 1
    })
    .await;
    for (round, stall) in [false, true].into_iter().enumerate() {
        if stall {
            proxy.stall();
        } else {
            proxy.cut();
        }
        let body = click_envelope(&format!("e{round}"), "p1", "l1", "ann");
        assert_eq!(client.post(treehook.public(), &body).await.0, 202);
        eventually("the outbox holds it", async || {
            client.metric(treehook.admin, "treehook_outbox_events").await == 1
        })
        .await;
        proxy.restore();
        let counted = round as u64 + 1;
        eventually("it counts", async || {
            client.clicks(treehook.admin, "p1").await.get("l1") == Some(&counted)
        })
        .await;
        eventually("the outbox is empty", async || {
            client.metric(treehook.admin, "treehook_outbox_events").await == 0
        })
        .await;
    }
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
}

#[tokio::test]
async fn a_worker_started_before_its_servers_waits_for_them() {
    let postgres = OwnPostgres::start().await;
    let amqp = std::env::var("TREEHOOK_TEST_AMQP_URL").expect("make test names one");
    let deployment = Deployment::server_on(&amqp, &postgres.url).await;
    let client = Client::new();
    postgres.stop().await;
    let treehook = deployment.start(&["serve"]).await;
    let body = click_envelope("e1", "p1", "l1", "ann");
    assert_eq!(client.post(treehook.public(), &body).await.0, 202);
    let (status, answer) = client.text(treehook.admin, "/api/v1/profiles").await;
    assert_eq!(status, 503, "{answer}");
    postgres.restart().await;
    eventually("it counts", async || {
        client.clicks(treehook.admin, "p1").await.get("l1") == Some(&1)
    })
    .await;
    assert_eq!(treehook.terminate().await, 0);
    deployment.end().await;
    postgres.end().await;
}

#[tokio::test]
async fn a_broker_that_is_blocked_by_an_alarm_is_emptied_and_then_caught_up_with() {
    let rabbit = OwnRabbit::start().await;
    let postgres = std::env::var("TREEHOOK_TEST_DATABASE_URL").expect("make test names one");
    let deployment = Deployment::server_on(&rabbit.url, &postgres).await;
    let client = Client::new();
    let receiver = deployment.start(&["receive"]).await;
    eventually("the broker is up", async || {
        client.metric(receiver.admin, "treehook_broker_up").await == 1
    })
    .await;
    // A worker has declared the queue before, so that what comes now waits in it.
    let worker = deployment.start(&["work"]).await;
    eventually("the broker is up", async || {
        client.metric(worker.admin, "treehook_broker_up").await == 1
    })
    .await;
    assert_eq!(worker.terminate().await, 0);
    let body = click_envelope("before", "p1", "l1", "ann");
    assert_eq!(client.post(receiver.public(), &body).await.0, 202);

    rabbit.set_alarm(true).await;
    let worker = deployment.start(&["work"]).await;
    eventually("what waited is counted in spite of the alarm", async || {
        client.clicks(worker.admin, "p1").await.get("l1") == Some(&1)
    })
    .await;
    let body = click_envelope("during", "p1", "l1", "ann");
    assert_eq!(client.post(receiver.public(), &body).await.0, 202);
    eventually("the alarm is seen", async || {
        client.metric(receiver.admin, "treehook_broker_blocked").await == 1
    })
    .await;

    rabbit.set_alarm(false).await;
    eventually("the rest is counted", async || {
        client.clicks(worker.admin, "p1").await.get("l1") == Some(&2)
    })
    .await;
    eventually("the announcement is made up for", async || {
        client.metric(worker.admin, "treehook_announcements_replayed_total").await >= 1
    })
    .await;
    assert_eq!(deployment.output(&["dead", "list"]).await, "no dead letters\n");
    for process in [receiver, worker] {
        assert_eq!(process.terminate().await, 0);
    }
    deployment.end().await;
    rabbit.end().await;
}
