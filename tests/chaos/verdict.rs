//! What came of a storm: every figure against what was accepted, and nothing left anywhere.

use std::fmt::Write as _;
use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, interval};

use crate::schedule::RECEIVERS;
use crate::stage::Stage;
use crate::traffic::Run;

/// How long nothing may move before what is missing counts as lost: twice as long as a dead worker's
/// lease on announcements, the longest wait that there is.
const PATIENCE: Duration = Duration::from_mins(2);

/// Events that are missing, and events that were counted more than once.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    events: u64,
    lost: u64,
    twice: u64,
    differences: String,
}

/// Waits until everything has drained, and compares every figure.
pub(crate) async fn reach(stage: &Stage, run: &Run) -> Verdict {
    let given_up = run.report.unanswered;
    assert_eq!(given_up, 0, "senders gave up: the outage outlasted their patience");
    run.assert_all_accepted();
    let admin = *stage.admins().await.last().expect("there are workers");
    let mut verdict = Verdict { events: run.expected.events, ..Verdict::default() };
    let applied = applied(stage, admin, run.expected.events).await;
    stage.say(&format!("{applied} events count"));
    verdict.compare("applied events", run.expected.events, applied);
    for (id, profile) in &run.expected.profiles {
        let path = format!("/api/v1/profiles/{id}/analytics?period=last_90_days");
        let analytics = stage.client.get(admin, &path).await;
        let figure = |name: &str| analytics[name].as_u64().unwrap_or(0);
        verdict.compare(&format!("views of {id}"), profile.views, figure("views"));
        verdict.compare(&format!("clicks of {id}"), profile.clicks, figure("clicks"));
        let counted = stage.client.clicks(admin, id).await;
        for (link, of) in &profile.links {
            let clicks = counted.get(link).copied().unwrap_or(0);
            verdict.compare(&format!("clicks on {link} of {id}"), of.clicks, clicks);
        }
    }
    if verdict.is_flawless() {
        run.assert_counted(&stage.client, admin).await;
        drained(stage).await;
        stage.say("nothing waits in an outbox or in the backlog of announcements");
        let proof = stage.deployment.output(&["verify"]).await;
        stage.say(proof.trim());
        assert!(proof.contains("ledger linktree: "), "{proof}");
        assert!(proof.contains("+ 0 in flight"), "{proof}");
        assert_eq!(stage.deployment.output(&["dead", "list"]).await, "no dead letters\n");
        stage.close().await;
        assert_nothing_left(stage).await;
    }
    verdict
}

impl Verdict {
    fn compare(&mut self, what: &str, expected: u64, counted: u64) {
        if expected == counted {
            return;
        }
        self.lost += expected.saturating_sub(counted);
        self.twice += counted.saturating_sub(expected);
        writeln!(self.differences, "{what}: {expected} were accepted, {counted} count")
            .expect("writing to memory cannot fail");
    }

    fn is_flawless(&self) -> bool {
        self.differences.is_empty()
    }

    pub(crate) fn assert_flawless(&self) {
        assert!(self.is_flawless(), "{}", self.differences);
    }

    /// The one line that a storm comes to.
    pub(crate) fn line(&self, seed: u64, length: Duration, stage: &Stage) -> String {
        let minutes = length.as_secs_f64() / 60.0;
        let (kills, faults) = (stage.kills(), stage.faults());
        let Self { events, lost, twice, .. } = self;
        format!(
            "chaos seed={seed} minutes={minutes:.1} events={events} kills={kills} faults={faults}: \
             lost {lost}, counted twice {twice}"
        )
    }
}

/// How many events count, once it is all of them or no more come.
async fn applied(stage: &Stage, admin: std::net::SocketAddr, expected: u64) -> u64 {
    let (mut seen, mut since) = (0, Instant::now());
    let mut tick = interval(Duration::from_millis(200));
    while seen < expected && since.elapsed() < PATIENCE {
        tick.tick().await;
        let status: Value = stage.client.get(admin, "/api/v1/status").await;
        let now = status["applied"].as_u64().unwrap_or(seen);
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
    }
    seen
}

/// Waits until every outbox and the backlog of announcements are empty.
async fn drained(stage: &Stage) {
    let admins = stage.admins().await;
    let database = stage.deployment.database.as_ref().expect("this deployment has one");
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let started = Instant::now();
    let mut tick = interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let mut left = 0;
        for admin in &admins[..RECEIVERS] {
            left += stage.client.metric(*admin, "treehook_outbox_events").await;
        }
        let waiting = sqlx::query_scalar::<_, i64>("select count(*) from announcements");
        let unannounced = waiting.fetch_one(&mut connection).await.unwrap();
        if left == 0 && unannounced == 0 {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{left} events stay in outboxes, {unannounced} batches in the backlog"
        );
    }
}

/// With every process gone, nothing is in a queue or an outbox.
async fn assert_nothing_left(stage: &Stage) {
    for dir in stage.outboxes() {
        let arguments = ["outbox", "status", "--json", "--data-dir", &dir];
        let said = stage.deployment.output(&arguments).await;
        let status: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(status["events"], 0, "left in the outbox of {dir}");
    }
    let prefix = &stage.deployment.environment["TREEHOOK_AMQP_PREFIX"];
    let properties = ConnectionProperties::default();
    let connection = lapin::Connection::connect(&stage.rabbit.url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for queue in ["aggregate", "dead"] {
        let name = format!("{prefix}{queue}");
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(name.into(), look, FieldTable::default()).await.unwrap();
        assert_eq!(found.message_count(), 0, "left in the queue {queue}");
    }
    connection.close(200, "done".into()).await.unwrap();
    let log = stage.postgres.log();
    assert!(!log.contains("deadlock"), "{log}");
}

#[test]
fn a_verdict_tells_what_is_missing_from_what_counts_twice() {
    let mut verdict = Verdict::default();
    verdict.compare("clicks of a", 5, 5);
    assert!(verdict.is_flawless());
    verdict.compare("clicks of b", 5, 3);
    verdict.compare("clicks of c", 5, 6);
    assert_eq!((verdict.lost, verdict.twice), (2, 1));
    assert_eq!(
        verdict.differences,
        "clicks of b: 5 were accepted, 3 count\nclicks of c: 5 were accepted, 6 count\n"
    );
}
