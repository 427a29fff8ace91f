//! Every figure of every endpoint against a count of the archive by hand, in both modes.

mod compared;
mod hand;
mod lists;

use serde_json::{Value, json};

use crate::harness::{Client, Deployment, eventually, now};
use crate::traffic::{Run, send};
use compared::Compared;
use hand::{DAY, HOUR};

/// A profile with few visitors, whose every figure is exact.
const SMALL: &str = "small";

/// Periods of whole UTC days, of other zones' days, of hours, and those with names.
fn periods(today: i64) -> Vec<String> {
    let date = |back: i64| {
        let at = treehook_event::Timestamp::from_millis(today - back * DAY);
        at.day().to_iso()
    };
    let moment = |back: i64| {
        treehook_event::Timestamp::from_millis(today - back * DAY + 7 * HOUR).to_rfc3339()
    };
    let days = format!("from={}&to={}", date(9), date(2));
    let hours = format!("from={}&to={}", moment(3), moment(1));
    [
        "period=last_30_days".to_owned(),
        "period=last_90_days&tz=Europe/Berlin".to_owned(),
        "period=last_7_days&tz=Asia/Tokyo&granularity=hourly".to_owned(),
        "period=last_24_hours".to_owned(),
        days.clone(),
        format!("{days}&tz=Europe/Berlin"),
        format!("{days}&tz=Asia/Tokyo"),
        format!("{days}&granularity=hourly"),
        format!("{hours}&granularity=hourly"),
        // Its days begin within a UTC hour, but here no day is cut.
        format!("{hours}&granularity=hourly&tz=Asia/Kolkata"),
    ]
    .into_iter()
    .map(|when| format!("{when}&compare=previous"))
    .collect()
}

/// Envelopes that a simulator would not think of: both sides of midnight, nothing told, hostile
/// referrers, a link that changes and goes, and milestones of either kind.
fn by_hand(now: i64) -> Vec<Value> {
    let midnight = now - now.rem_euclid(DAY);
    let envelope = |id: &str, kind: &str, at: i64, data: Value| {
        let mut data = data;
        data["profile_id"] = SMALL.into();
        json!({"id": id, "type": kind, "timestamp": at, "data": data})
    };
    let visit = |id: &str, kind: &str, at: i64, mut data: Value| {
        data["link_id"] = "shop".into();
        envelope(id, kind, at, data)
    };
    let mut sent = vec![
        visit("m1", "link.clicked", midnight - 1, json!({"visitor_id": "ann", "country": "at"})),
        visit("m2", "link.clicked", midnight, json!({"visitor_id": "ann", "country": "AT"})),
        visit("m3", "link.clicked", midnight - 9 * DAY, json!({"referrer": "not a url \u{7}"})),
        visit("m4", "link.clicked", midnight - 9 * DAY - 1, json!({"referrer": "(direct)"})),
        visit("m5", "profile.viewed", midnight - HOUR, json!({"visitor_id": "bob"})),
        visit("m6", "profile.viewed", midnight - 23 * HOUR, json!({"visitor_id": "bob"})),
        visit(
            "m7",
            "link.clicked",
            midnight - 15 * HOUR - 1,
            json!({"visitor_id": "cy", "device": "Tablet", "referrer": "https://www.T.co/a?b"}),
        ),
        visit("m8", "link.clicked", midnight - 15 * HOUR, json!({"user_agent": "x", "ip": "::1"})),
        envelope("c1", "link.created", now - 5 * HOUR, json!({"link_id": "shop", "title": "Old"})),
        envelope(
            "c2",
            "link.updated",
            now - 3 * HOUR,
            json!({"link_id": "shop", "title": "New", "url": "https://example.com/", "type": "commerce"}),
        ),
        envelope("c3", "link.created", now - 4 * HOUR, json!({"link_id": "gone", "title": "Gone"})),
        envelope("c4", "link.deleted", now - 2 * HOUR, json!({"link_id": "gone"})),
        envelope("c5", "profile.updated", now - HOUR, json!({"display_name": "Small"})),
        envelope(
            "a1",
            "analytics.milestone",
            now - 2 * HOUR,
            json!({"metric": "clicks", "threshold": 5, "value": 6, "link_id": "shop"}),
        ),
        envelope("a2", "analytics.milestone", now - HOUR, json!({"metric": "views"})),
        // Of a type that nobody knows: archived, and in no figure but `applied`.
        envelope("u1", "tip.received", now - HOUR, json!({})),
    ];
    // What is live, and what was before that.
    for n in 0..45 {
        let (id, kind) = (format!("l{n}"), ["profile.viewed", "link.clicked"][n % 2]);
        let at = now - i64::try_from(n).unwrap() * HOUR / 30;
        sent.push(visit(&id, kind, at, json!({"visitor_id": format!("v{n}")})));
    }
    for n in 0..90 {
        let (country, device) =
            (["DE", "us", "zz", "x"][n % 4], ["mobile", "DESKTOP", "toaster"][n % 3]);
        let visitor = format!("v{}", n % 60);
        let data = json!({"visitor_id": visitor, "country": country, "device": device});
        let at = now - i64::try_from(n).unwrap() * 7 * HOUR;
        sent.push(visit(&format!("n{n}"), ["link.clicked", "profile.viewed"][n % 2], at, data));
    }
    sent
}

/// Sends it all, some of it twice, and waits until it is dealt with. Answers what came of the
/// simulator's part, and how many duplicates there were of the rest.
async fn traffic(client: &Client, treehook: &crate::harness::process::Process) -> Run {
    let plan = treehook_simulator::TrafficPlan {
        seed: 11,
        profiles: 3,
        links: 7,
        days: 20,
        events: Some(2500),
        duplicates: 0.2,
        late: 0.1,
        batch: 25,
        views_per_click: 1.2,
        ..treehook_simulator::TrafficPlan::default()
    };
    let run = send(treehook.public(), plan, None).await;
    run.assert_all_accepted();
    let extra = by_hand(now().as_millis());
    let (first, second) = extra.split_at(40);
    for batch in [first, second, first] {
        assert_eq!(client.post(treehook.public(), &batch.to_vec().into()).await.0, 202);
    }
    let bad = json!({
        "id": "bad", "type": "link.clicked", "timestamp": now().as_seconds(),
        "data": {"profile_id": SMALL}
    });
    assert_eq!(client.post(treehook.public(), &bad).await.0, 202);
    eventually("all of it is dealt with", async || {
        let status = client.get(treehook.admin, "/api/v1/status").await;
        let applied = status["applied"].as_u64().unwrap_or(0);
        applied >= run.expected.events + extra.len() as u64
            && status["dead"] == 1
            && status["duplicates"].as_u64() >= Some(40)
    })
    .await;
    run
}

async fn every_figure_equals_the_archive(deployment: &Deployment) {
    let client = Client::new();
    let treehook = deployment.start(&["serve"]).await;
    let run = traffic(&client, &treehook).await;
    let archive = hand::archive(deployment).await;
    let status = client.get(treehook.admin, "/api/v1/status").await;
    assert_eq!(status["applied"].as_u64(), Some(archive.len() as u64));
    assert_eq!(archive.len() as u64, run.expected.events + by_hand(0).len() as u64);
    assert_eq!(status["dead"], 1);

    let compared = Compared { client: &client, admin: treehook.admin, archive: &archive };
    let profiles = compared.profiles().await;
    assert_eq!(profiles.len(), 4);
    for profile in &profiles {
        for when in periods(now().as_millis()) {
            compared.analytics(profile, &when).await;
            compared.links(profile, &when).await;
            compared.report(profile, &when).await;
            compared.trends(profile, &when).await;
        }
        compared.milestones(profile).await;
        compared.history(profile).await;
        compared.live(profile).await;
    }
    compared.refuses_to_cut_days(SMALL, "Asia/Kolkata").await;
    assert_eq!(treehook.terminate().await, 0);
}

#[tokio::test]
async fn every_figure_of_the_embedded_store_equals_a_count_by_hand() {
    let deployment = Deployment::embedded();
    every_figure_equals_the_archive(&deployment).await;
}

#[tokio::test]
async fn every_figure_of_postgres_equals_a_count_by_hand() {
    let deployment = Deployment::server().await;
    every_figure_equals_the_archive(&deployment).await;
    deployment.end().await;
}
