//! Requests whose end is in dispute: refused, or the last of their connection. What hides in one is never executed.

use crate::client::Line;
use crate::harness::{Site, click, linktree};

/// The head of a delivery with these lines in it, up to the empty one.
fn head(lines: &str) -> String {
    format!("POST /webhooks/linktree HTTP/1.1\r\nHost: t\r\n{lines}\r\n")
}

/// Everything that comes back on a connection of its own until the other side hangs up.
async fn told(site: &Site, request: &[u8]) -> String {
    let mut line = Line::open(site.address).await;
    // It may be refused before it is sent.
    drop(line.try_send(request).await);
    line.finished().await;
    String::from_utf8(line.hung_up().await).expect("answers are UTF-8")
}

#[tokio::test]
async fn a_head_that_two_parties_could_read_differently_is_refused() {
    let site = Site::open();
    let hidden = linktree(click("hidden")).bytes();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0, 5\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x0\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length:\r\n",
        "Content-Length : 0\r\n",
        "Content-Length: 0\r\nX-Folded: a\r\n b\r\n",
        "Content-Length: 0\r\nX-Nul: a\0b\r\n",
        "Content-Length: 0\r\nX-Return: a\rb\r\n",
        "Content-Length: 0\r\nNo colon\r\n",
        "Content-Length: 0\r\n: no name\r\n",
        "Content-Length: 0\r\nX-(Odd): 1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    ] {
        let answers = told(&site, &[head(lines).as_bytes(), &hidden].concat()).await;
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 501 "].iter().any(|s| answers.starts_with(s));
        assert!(answers.is_empty() || refused, "{lines:?} was answered {answers:?}");
        assert_eq!(
            answers.matches("HTTP/1.1").count(),
            usize::from(refused),
            "{lines:?}: {answers}"
        );
    }
    for opening in [
        "POST  /webhooks/linktree HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST /webhooks/linktree HTTP/9.9\r\nHost: t\r\n\r\n",
        "POST /webhooks/linktree\r\n\r\n",
        "POST /webhooks/lin\0ktree HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST /webhooks/linktree HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
    ] {
        let answers = told(&site, &[opening.as_bytes(), &hidden].concat()).await;
        assert!(!answers.contains("HTTP/1.1 2"), "{opening:?} was answered {answers:?}");
    }
    assert!(site.publisher.published().is_empty(), "what was hidden is executed");
}

#[tokio::test]
async fn a_chunked_request_is_the_last_of_its_connection() {
    let site = Site::open();
    let hidden = linktree(click("hidden")).bytes();
    let shapes = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: CHUNKED\r\n",
        "X-Bare: a\nTransfer-Encoding: chunked\r\n",
    ];
    for lines in shapes {
        let request = [head(lines).as_bytes(), b"0\r\n\r\n", &hidden].concat();
        let answers = told(&site, &request).await;
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{lines:?}: {answers}");
        assert!(answers.starts_with("HTTP/1.1 40"), "{lines:?}: {answers}");
    }
    assert!(site.publisher.published().is_empty(), "what was hidden is executed");
}

#[tokio::test]
async fn chunks_that_are_not_well_formed_end_their_connection() {
    let site = Site::open();
    let hidden = linktree(click("hidden")).bytes();
    let delivery = linktree(click("evt_1"));
    let opening = delivery.head("Transfer-Encoding: chunked");
    let endless = format!("1;{}\r\n", "x".repeat(100_000));
    for chunks in [
        "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "10000000000000000\r\n0\r\n\r\n",
        "-1\r\n\r\n0\r\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "0\r\nX-Trailer: a\r\n b\r\n\r\n",
        &endless,
    ] {
        let answers = told(&site, &[&opening, chunks.as_bytes(), &hidden].concat()).await;
        assert!(!answers.contains("HTTP/1.1 2"), "{chunks:.20?} was answered {answers:?}");
        assert!(answers.matches("HTTP/1.1").count() <= 1, "{chunks:.20?}: {answers}");
    }
    assert!(site.publisher.published().is_empty(), "what was hidden is executed");
}

#[tokio::test]
async fn what_follows_a_well_framed_request_is_a_request() {
    // Or the tests above would pass on a door that closes after each.
    let site = Site::open();
    let answers =
        told(&site, &[linktree(click("a")).bytes(), linktree(click("b")).bytes()].concat()).await;
    assert_eq!(answers.matches("HTTP/1.1 202").count(), 2, "{answers}");
    assert_eq!(site.publisher.published().len(), 2);
}
