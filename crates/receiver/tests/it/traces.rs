//! What deliveries leave behind: metrics with bounded labels, and nothing of what was sent.

use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use treehook_event::{Failure, Scheme};

use crate::client::Post;
use crate::harness::{Mood, OLD_SECRET, Site, click, linktree, now};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Listens on this thread, which is where a test's whole runtime lives.
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

#[tokio::test]
async fn deliveries_are_counted_by_source_and_outcome() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let site = Site::open();
    site.post(&linktree(format!("[{},{}]", click("a"), click("b")))).await;
    let created = r#"{"type":"link.created","timestamp":0,"data":{"profile_id":"p","link_id":"l",
        "url":"javascript:alert(1)"}}"#;
    site.post(&linktree(format!("[{created},{}]", r#"{"type":"x","timestamp":0,"data":{}}"#)))
        .await;
    site.post(&Post::signed("linktree", &Scheme::linktree(), OLD_SECRET, now(), click("c"))).await;
    let old = now().plus_millis(-301_000);
    site.post(&Post::signed("linktree", &Scheme::linktree(), OLD_SECRET, old, click("c"))).await;
    site.post(&Post::plain("linktree", "x")).await;
    site.post(&Post::plain("a-stranger", "x")).await;
    site.publisher.is(Mood::Spool);
    site.post(&linktree(click("d"))).await;
    site.publisher.is(Mood::Fail(Failure::transient("outbox_full", "no room")));
    site.post(&linktree(click("e"))).await;

    let text = metrics.render();
    for (outcome, count) in [
        ("accepted", 3),
        ("spooled", 1),
        ("stale_timestamp", 1),
        ("missing_signature", 1),
        ("not_accepting", 1),
    ] {
        let line = format!(
            "treehook_deliveries_total{{source=\"linktree\",outcome=\"{outcome}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    for line in [
        "treehook_deliveries_total{source=\"unknown\",outcome=\"unknown_source\"} 1\n",
        "treehook_events_accepted_total{source=\"linktree\",type=\"link.clicked\"} 4\n",
        "treehook_events_accepted_total{source=\"linktree\",type=\"link.created\"} 1\n",
        "treehook_events_accepted_total{source=\"linktree\",type=\"unknown\"} 1\n",
        "treehook_secret_matches_total{source=\"linktree\",secret=\"0\"} 4\n",
        "treehook_secret_matches_total{source=\"linktree\",secret=\"1\"} 1\n",
        "treehook_urls_refused_total 1\n",
        "treehook_delivery_duration_seconds_count{source=\"linktree\"} 7\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("a-stranger"));
}

#[tokio::test]
async fn nothing_of_a_delivery_is_in_answers_logs_or_metrics() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, _listening) = Log::listen();
    let site = Site::open();
    let mut answers = String::new();
    let marked = |envelope: &str| linktree(envelope.replace('@', "MARK"));
    for post in [
        marked(r#"{"type":"@","timestamp":0,"data":{"ip":"@","visitor_id":"@","title":"@"}}"#),
        marked(r#"{"type":"link.clicked","timestamp":0,"data":{"profile_id":"@","link_id":"@"}}"#),
        marked(r#"{"type":"link.clicked","timestamp":"@","data":{"@":"@"}}"#),
        marked(r#"{"type":"link.clicked","timestamp":0,"data":"@"}"#),
        marked(r#"{"type":"link.clicked","timestamp":0,"data":{},"id":{"@":1}}"#),
        marked(r#"{"type":"link.clicked","timestamp":0,"data":{"profile_id":"@""#),
        marked("@"),
        marked("[@]"),
        marked(r#"["@"]"#),
        Post::plain("linktree", "MARK"),
        Post::plain("MARK", "MARK"),
        linktree("{}").with("x-linktree-signature", |_| b"MARK".to_vec()),
        linktree("{}").with("x-linktree-timestamp", |_| b"MARK".to_vec()),
    ] {
        answers.push_str(&site.post(&post).await.body);
    }
    site.publisher.is(Mood::Fail(Failure::transient("outbox_full", "no room")));
    answers.push_str(&site.post(&marked(r#"{"type":"@","timestamp":0,"data":{}}"#)).await.body);
    let log = log.text();
    assert!(log.contains("delivery answered") && log.contains("outbox_full"), "{log}");
    for (place, text) in [("answers", answers), ("log", ours(&log)), ("metrics", metrics.render())]
    {
        assert!(!text.contains("MARK"), "{place}: {text}");
    }
}

/// Our own lines: hyper's trace level is not ours to choose what it shows.
fn ours(log: &str) -> String {
    log.lines().filter(|line| line.contains("treehook")).collect()
}

#[tokio::test]
async fn an_outage_warns_once_a_second_however_many_deliveries_it_costs() {
    let (log, _listening) = Log::listen();
    let site = Site::open();
    site.publisher.is(Mood::Fail(Failure::transient("outbox_full", "no room")));
    for id in ["a", "b", "c"] {
        let post = linktree(click(id)).header("x-linktree-delivery-id", format!("del-{id}"));
        assert_eq!(site.post(&post).await.status, 503);
    }
    let log = log.text();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("no room") && log.contains("del-c"), "{log}");
}
