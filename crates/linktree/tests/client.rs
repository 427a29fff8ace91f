//! The client keeps every rule of Linktree's API, against an API that breaks most of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{Answer, Api, SILENCE, says};
use metrics_exporter_prometheus::PrometheusBuilder;
use treehook_linktree::{
    ApiError, BadSettings, CircuitRule, Client, Quota, RetryRule, Settings, Webhook,
};

/// The rules as they are, only faster.
fn settings(base_url: String) -> Settings {
    // Installed by an earlier test of this process, if this fails: either will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    Settings {
        base_url,
        timeout: Duration::from_secs(5),
        quota: Quota { requests: 1000, per: Duration::from_millis(60) },
        retry: RetryRule {
            attempts: 4,
            first: Duration::from_millis(4),
            longest: Duration::from_millis(40),
            patience: Duration::from_secs(3),
        },
        circuit: CircuitRule { failures: 5, rest: Duration::from_secs(1) },
        ..Settings::new("lt_live_7".to_owned().into())
    }
}

fn of_api(api: &Api) -> Settings {
    settings(format!("http://{}/v1", api.address))
}

fn client(api: &Api) -> Client {
    Client::new(&of_api(api)).unwrap()
}

fn with_header(status: u16, name: &'static str, value: &'static str) -> Answer {
    Answer { status, headers: vec![(name, value)], body: "[]".to_owned() }
}

#[tokio::test]
async fn a_webhook_is_registered_listed_and_deleted() {
    let api = Api::start(|number| match number {
        0 => says(201, "{\"id\": \"wh_1\"}"),
        1 => {
            says(200, "[{\"id\": \"wh_1\", \"url\": \"https://a.example/\", \"events\": [\"x\"]}]")
        }
        _ => says(204, ""),
    })
    .await;
    let client = client(&api);
    let events = ["link.clicked".to_owned(), "profile.viewed".to_owned()];
    let made = client.register("https://a.example/", &events).await.unwrap();
    let url = Some("https://a.example/".to_owned());
    assert_eq!(made, Webhook { id: "wh_1".into(), url: url.clone(), events: events.to_vec() });
    let listed = client.list().await.unwrap();
    assert_eq!(listed, [Webhook { id: "wh_1".into(), url, events: vec!["x".into()] }]);
    client.delete("wh 1/..").await.unwrap();

    let asked = api.asked();
    let lines: Vec<_> = asked.iter().map(|a| (a.method.as_str(), a.path.as_str())).collect();
    let expected =
        [("POST", "/v1/webhooks"), ("GET", "/v1/webhooks"), ("DELETE", "/v1/webhooks/wh%201%2F..")];
    assert_eq!(lines, expected);
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == "Bearer lt_live_7"));
    let sent: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(sent["url"], "https://a.example/");
    assert_eq!(sent["events"][1], "profile.viewed");
    for id in ["", " ", ".", ".."] {
        assert_eq!(client.delete(id).await, Err(ApiError::BadId));
    }
}

#[tokio::test]
async fn a_failing_service_is_asked_again() {
    for status in [429, 500, 503] {
        let api = Api::start(move |n| says(if n < 3 { status } else { 200 }, "[]")).await;
        assert_eq!(client(&api).list().await, Ok(Vec::new()));
        assert_eq!(api.asked().len(), 4);
    }
    let api = Api::start(|_| says(502, "")).await;
    assert_eq!(client(&api).list().await, Err(ApiError::Server(502)));
    assert_eq!(api.asked().len(), 4);
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept() {
    let api = Api::start(|number| match number {
        0 => with_header(429, "retry-after", "1"),
        1 => Answer {
            headers: vec![
                ("date", "Tue, 24 Nov 2026 07:05:20 GMT"),
                ("retry-after", "Tue, 24 Nov 2026 07:05:21 GMT"),
            ],
            ..says(429, "")
        },
        _ => says(200, "[]"),
    })
    .await;
    client(&api).list().await.unwrap();
    let at: Vec<Instant> = api.asked().iter().map(|asked| asked.at).collect();
    assert!(at[1] - at[0] >= Duration::from_millis(990));
    assert!(at[2] - at[1] >= Duration::from_millis(990));
}

#[tokio::test]
async fn a_pause_beyond_patience_is_told_instead_of_kept() {
    let api = Api::start(|_| with_header(429, "retry-after", "3600")).await;
    let retry_after = Some(Duration::from_hours(1));
    let error = client(&api).list().await.unwrap_err();
    assert_eq!(error, ApiError::RateLimited { retry_after });
    assert!(error.to_string().contains("3600 s"));
    assert_eq!(api.asked().len(), 1);
}

#[tokio::test]
async fn a_time_out_is_told_from_a_refused_token_and_neither_is_repeated() {
    let api = Api::start(|number| says(if number == 0 { SILENCE } else { 401 }, "")).await;
    let timeout = Duration::from_millis(100);
    let client = Client::new(&Settings { timeout, ..of_api(&api) }).unwrap();
    assert_eq!(client.list().await, Err(ApiError::TimedOut(timeout)));
    let refused = client.list().await.unwrap_err();
    assert_eq!(refused, ApiError::TokenRefused(401));
    assert!(refused.to_string().contains("LINKTREE_API_KEY"));
    assert!(!refused.to_string().contains("lt_live_7"));
    assert_eq!(api.asked().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let api = Api::start(|_| says(200, "[]")).await;
    let settings = of_api(&api);
    drop(api);
    let error = Client::new(&settings).unwrap().list().await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn after_five_failures_nothing_is_sent_until_the_service_has_rested() {
    let api = Api::start(|number| says(if number < 5 { 503 } else { 200 }, "[]")).await;
    let client = client(&api);
    assert_eq!(client.list().await, Err(ApiError::Server(503)));
    assert_eq!(client.list().await, Err(ApiError::Server(503)));
    assert_eq!(api.asked().len(), 5);
    let Err(ApiError::CircuitOpen(rest)) = client.list().await else { panic!("closed") };
    assert!(rest <= Duration::from_secs(1));
    assert_eq!(api.asked().len(), 5);
    tokio::time::timeout(Duration::from_secs(10), async {
        while client.list().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("closes again");
    assert_eq!(api.asked().len(), 6);
}

#[tokio::test]
async fn no_window_sees_nine_tenths_of_the_quota() {
    let api = Api::start(|_| says(200, "[]")).await;
    let per = Duration::from_millis(400);
    let quota = Quota { requests: 10, per };
    let client = Client::new(&Settings { quota, ..of_api(&api) }).unwrap();
    let started = Instant::now();
    for _ in 0..9 {
        client.list().await.unwrap();
    }
    // Eight go at once, the ninth when the first is a window old.
    assert!(started.elapsed() >= per);
}

#[tokio::test]
async fn a_delete_that_failed_half_way_is_done() {
    let api = Api::start(|number| says(if number == 0 { 500 } else { 404 }, "")).await;
    let client = client(&api);
    assert_eq!(client.delete("wh_1").await, Ok(()));
    assert_eq!(client.delete("wh_1").await, Err(ApiError::NotFound));
}

#[tokio::test]
async fn odd_answers_are_errors_and_redirects_are_not_followed() {
    let elsewhere = Api::start(|_| says(200, "[]")).await;
    let location: &'static str = format!("http://{}/", elsewhere.address).leak();
    let api = Api::start(move |number| match number {
        0 => says(200, "<html>a secret page"),
        1 => says(200, &"x".repeat(2 * 1024 * 1024)),
        2 => says(422, "{\"message\": \"url is not https\"}"),
        _ => with_header(302, "location", location),
    })
    .await;
    let client = client(&api);
    let unreadable = client.list().await.unwrap_err();
    assert!(matches!(unreadable, ApiError::Unreadable(_)));
    assert!(!unreadable.to_string().contains("secret"));
    assert!(matches!(client.list().await, Err(ApiError::Unreadable(_))));
    let detail = "url is not https".to_owned();
    assert_eq!(client.list().await, Err(ApiError::Refused { status: 422, detail }));
    assert!(matches!(client.list().await, Err(ApiError::Refused { status: 302, .. })));
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn every_request_is_counted_by_its_outcome() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let api = Api::start(|number| says([503, 200, 401, SILENCE][number.min(3)], "[]")).await;
    let timeout = Duration::from_millis(100);
    let client = Client::new(&Settings { timeout, ..of_api(&api) }).unwrap();
    client.list().await.unwrap();
    client.list().await.unwrap_err();
    client.list().await.unwrap_err();
    let text = recorder.handle().render();
    for outcome in ["server_error", "ok", "token_refused", "timeout"] {
        let line = format!("treehook_linktree_requests_total{{outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{outcome} in {text}");
    }
}

/// A log that can be read back.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn another_version_of_the_api_is_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let api = Api::start(|number| {
        with_header(200, "x-linktree-api-version", if number < 2 { "2026-01" } else { "2026-02" })
    })
    .await;
    let client = client(&api);
    for _ in 0..4 {
        client.list().await.unwrap();
    }
    assert_eq!(client.api_version().as_deref(), Some("2026-02"));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let count = |needle: &str| text.matches(needle).count();
    assert_eq!(count("names its version"), 1, "{text}");
    assert_eq!(count("has another version"), 1, "{text}");
    assert!(text.contains("2026-02") && !text.contains("lt_live_7"));
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    for (token, base_url, refused) in [
        ("", "http://127.0.0.1:1", BadSettings::NoToken),
        ("lt_test_1", "http://127.0.0.1:1", BadSettings::SandboxToken),
        ("lt_live_1", "nowhere", BadSettings::BaseUrl),
    ] {
        let token = token.to_owned().into();
        let bad = Settings { token, ..settings(base_url.to_owned()) };
        assert_eq!(Client::new(&bad).unwrap_err(), refused);
    }
}
