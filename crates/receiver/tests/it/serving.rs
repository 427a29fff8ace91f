//! The server loop: header limits, connection limits, stalled readers, and the drain.

use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use treehook_receiver::{ServeLimits, serve};

use crate::client::{DEADLINE, Line};
use crate::harness::{Mood, Site, click, linktree};

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

#[tokio::test]
async fn a_request_in_flight_is_finished_after_shutdown_is_asked_for() {
    let site = Site::open();
    let mut idle = Line::open(site.address).await;
    idle.send(LIVEZ).await;
    assert_eq!(idle.answer().await.status, 200);
    let silent = Line::open(site.address).await;

    site.publisher.is(Mood::Hold);
    let mut line = Line::open(site.address).await;
    line.send(&linktree(click("evt_1")).bytes()).await;
    site.publisher.holds(1).await;
    site.shutdown.cancel();

    // Idle connections, used or not, are closed although one delivery is still being worked on.
    assert!(idle.hung_up().await.is_empty());
    assert!(silent.hung_up().await.is_empty());
    site.publisher.is(Mood::Queue);
    let answer = line.answer().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("connection"), Some("close"));
    line.hung_up().await;
    let publisher = site.publisher.clone();
    site.stopped().await;
    assert_eq!(publisher.published().len(), 1);
}

#[tokio::test]
async fn nothing_new_is_accepted_while_draining() {
    let site = Site::open();
    site.publisher.is(Mood::Hold);
    let mut line = Line::open(site.address).await;
    line.send(&linktree(click("evt_1")).bytes()).await;
    site.publisher.holds(1).await;
    site.shutdown.cancel();
    let refused = async {
        while tokio::net::TcpStream::connect(site.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, refused).await.expect("the listener is closed");
    site.publisher.is(Mood::Queue);
    assert_eq!(line.answer().await.status, 202);
}

#[tokio::test]
async fn what_outlasts_the_grace_is_closed() {
    let site = Site::with(|settings| settings.grace = Duration::from_millis(50));
    site.publisher.is(Mood::Hold);
    let mut line = Line::open(site.address).await;
    line.send(&linktree(click("evt_1")).bytes()).await;
    site.publisher.holds(1).await;
    site.shutdown.cancel();
    site.stopped().await;
    assert!(line.hung_up().await.is_empty(), "no promise was made");
}

#[tokio::test]
async fn headers_that_do_not_come_to_an_end_are_not_waited_for() {
    let site = Site::with(|settings| settings.serve.header_timeout = Duration::from_millis(100));
    let mut line = Line::open(site.address).await;
    line.send(b"POST /webhooks/linktree HTTP/1.1\r\nHost:").await;
    line.hung_up().await;
    Line::open(site.address).await.hung_up().await;
}

#[tokio::test]
async fn headers_too_large_or_too_many_are_refused() {
    let site = Site::open();
    let large = linktree("").header("x-padding", vec![b'a'; 20_000]);
    let many = (0..101).fold(linktree(""), |post, n| post.header(&format!("x-{n}"), "1"));
    for post in [large, many] {
        let mut line = Line::open(site.address).await;
        // It may hang up before all of it is sent.
        let sent = line.try_send(&post.bytes()).await;
        assert!(sent.is_err() || line.answer().await.status == 431);
    }
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_one_to_end() {
    let site = Site::with(|settings| settings.serve.max_connections = 1);
    let mut first = Line::open(site.address).await;
    first.send(LIVEZ).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = Line::open(site.address).await;
    second.send(LIVEZ).await;
    assert!(timeout(Duration::from_millis(100), second.answer()).await.is_err());
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up_on() {
    let huge = "x".repeat(64 * 1024 * 1024);
    let router = Router::new().route("/", get(async move || huge));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits =
        ServeLimits { write_timeout: Duration::from_millis(100), ..ServeLimits::default() };
    let shutdown = CancellationToken::new();
    let until = shutdown.clone().cancelled_owned();
    let server = tokio::spawn(serve(listener, router, limits, until, DEADLINE * 2));
    let mut line = Line::open(address).await;
    line.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    // The answer is in the way of the drain until the server gives up on its reader.
    line.stays_unread().await;
    shutdown.cancel();
    timeout(DEADLINE, server).await.expect("given up on").unwrap().unwrap();
    drop(line);
}
