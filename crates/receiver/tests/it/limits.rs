//! Every limit of the door: size, time, deliveries and bytes in flight.

use std::time::Duration;

use tokio::time::timeout;

use crate::client::{DEADLINE, Line, Post, exchange};
use crate::harness::{Mood, Site, click, linktree};

/// A click that is exactly this long.
fn click_of(length: usize) -> String {
    let short = click("evt_1");
    format!("{short}{}", " ".repeat(length - short.len()))
}

#[tokio::test]
async fn a_body_of_the_limit_fits_and_one_byte_more_does_not() {
    let site = Site::with(|settings| settings.door.max_body = 5000);
    let (fits, above) = (linktree(click_of(5000)), linktree(click_of(5001)));
    assert_eq!(site.post(&fits).await.status, 202);
    assert_eq!(exchange(site.address, &fits.chunked()).await.status, 202);
    for request in [above.bytes(), above.chunked()] {
        let mut line = Line::open(site.address).await;
        line.send(&request).await;
        let answer = line.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
        assert_eq!(answer.header("connection"), Some("close"));
        line.hung_up().await;
    }
    assert_eq!(site.publisher.published().len(), 2);
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_refused_before_the_body_is_sent() {
    let site = Site::open();
    let mut line = Line::open(site.address).await;
    let framing = "Content-Length: 300000\r\nExpect: 100-continue";
    line.send(&linktree("").head(framing)).await;
    assert_eq!(line.answer().await.status, 413);
}

#[tokio::test]
async fn a_sender_of_far_too_much_still_reads_its_answer() {
    let site = Site::open();
    let post = linktree(vec![b' '; 900_000]);
    let mut line = Line::open(site.address).await;
    line.send(&post.bytes()).await;
    assert_eq!(line.answer().await.status, 413);
    // Beyond what is thrown away politely the server just hangs up.
    let endless = linktree("").head("Content-Length: 999999999");
    let mut line = Line::open(site.address).await;
    line.send(&endless).await;
    let piece = vec![b' '; 65536];
    let mut sent = 0;
    while sent < 100_000_000 && line.try_send(&piece).await.is_ok() {
        sent += piece.len();
    }
    assert!(sent < 100_000_000);
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_is_timed_out_as_a_whole() {
    let site = Site::with(|settings| settings.door.body_timeout = Duration::from_millis(300));
    let post = linktree(click("evt_1"));
    let mut stalled = Line::open(site.address).await;
    stalled.send(&post.head(&format!("Content-Length: {}", post.body.len()))).await;
    stalled.send(&post.body[..20]).await;
    let answer = stalled.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    stalled.hung_up().await;

    // Progress buys no time: the wait is over the whole body.
    let mut dripping = Line::open(site.address).await;
    dripping.send(&post.head("Content-Length: 100000")).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let drip = async {
        while dripping.try_send(b" ").await.is_ok() {
            ticks.tick().await;
        }
    };
    timeout(DEADLINE, drip).await.expect("hung up on");
}

#[tokio::test]
async fn a_missing_header_is_answered_before_the_body_arrives() {
    let site = Site::open();
    let mut line = Line::open(site.address).await;
    line.send(&Post::plain("linktree", "").head("Content-Length: 1000")).await;
    assert_eq!(line.answer().await.status, 401);
}

#[tokio::test]
async fn deliveries_above_the_limit_in_flight_are_asked_to_come_back() {
    let site = Site::with(|settings| settings.door.max_in_flight = 2);
    site.publisher.is(Mood::Hold);
    let mut waiting = Vec::new();
    for id in ["a", "b"] {
        let mut line = Line::open(site.address).await;
        line.send(&linktree(click(id)).bytes()).await;
        waiting.push(line);
    }
    site.publisher.holds(2).await;
    let answer = site.post(&linktree(click("c"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_accepting"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(site.get("/livez").await.status, 200);

    site.publisher.is(Mood::Queue);
    for mut line in waiting {
        assert_eq!(line.answer().await.status, 202);
    }
    assert_eq!(site.post(&linktree(click("c"))).await.status, 202);
}

#[tokio::test]
async fn bytes_above_the_limit_in_flight_are_asked_to_come_back() {
    // Four of the largest bodies fit, however little is asked for.
    let site = Site::with(|settings| {
        settings.door.max_body = 10_000;
        settings.door.max_body_bytes_in_flight = 0;
    });
    site.publisher.is(Mood::Hold);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut line = Line::open(site.address).await;
        line.send(&linktree(click_of(9000)).bytes()).await;
        waiting.push(line);
    }
    site.publisher.holds(4).await;
    let answer = site.post(&linktree(click_of(9000))).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_accepting"));
    assert_eq!(answer.header("retry-after"), Some("1"));

    site.publisher.is(Mood::Queue);
    for mut line in waiting {
        assert_eq!(line.answer().await.status, 202);
    }
    assert_eq!(site.post(&linktree(click_of(9000))).await.status, 202, "given back");
    // Small envelopes weigh more as events than as text.
    let batch = vec![r#"{"type":"a","timestamp":0,"data":{}}"#; 200].join(",");
    let answer = site.post(&linktree(format!("[{batch}]"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_accepting"));
}

#[tokio::test]
async fn a_sender_that_hangs_up_gives_its_place_back() {
    let site = Site::with(|settings| settings.door.max_in_flight = 1);
    let mut gone = Line::open(site.address).await;
    gone.send(&linktree(click("a")).head("Content-Length: 1000")).await;
    // It holds the only place until it hangs up.
    while site.post(&linktree(click("b"))).await.status == 202 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    let freed = async {
        while site.post(&linktree(click("c"))).await.status != 202 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.expect("the place is given back");
}
