//! What real senders and real intermediaries do to signatures, seen from outside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use treehook_event::Scheme;

use crate::client::{Line, Post};
use crate::harness::{OLD_SECRET, SECRET, Site, WHSEC, click, github, linktree, now, shopify};

#[tokio::test]
async fn both_secrets_of_a_rotation_are_good() {
    let site = Site::open();
    for (secret, status) in [(SECRET, 202), (OLD_SECRET, 202), ("neither", 403)] {
        let post = Post::signed("linktree", &Scheme::linktree(), secret, now(), click("evt_1"));
        assert_eq!(site.post(&post).await.status, status);
    }
}

#[tokio::test]
async fn a_signature_is_accepted_in_upper_case_and_between_spaces() {
    let site = Site::open();
    let spaced = |value: &[u8]| [b"  \t", value, b" \t "].concat();
    for (source, scheme) in [("linktree", Scheme::linktree()), ("dub", Scheme::dub())] {
        let body = match source {
            "dub" => crate::harness::dub_click("evt_1", "2025-11-24T15:00:00Z"),
            _ => click("evt_1"),
        };
        let post = Post::signed(source, &scheme, SECRET, now(), body);
        let upper = post.clone().with(&scheme.signature_header, <[u8]>::to_ascii_uppercase);
        assert_eq!(site.post(&upper).await.status, 202, "{source} in upper case");
        let spaced = post.with(&scheme.signature_header, spaced);
        assert_eq!(site.post(&spaced).await.status, 202, "{source} between spaces");
    }
    let spaced = linktree(click("evt_1")).with("x-linktree-timestamp", spaced);
    assert_eq!(site.post(&spaced).await.status, 202, "timestamp between spaces");
}

#[tokio::test]
async fn a_header_given_twice_is_refused_even_if_both_are_right() {
    let site = Site::open();
    let posts = [
        linktree(click("evt_1")),
        Post::signed("standard", &Scheme::standard(), WHSEC, now(), click("evt_1")),
        Post::signed("github", &github(), SECRET, now(), click("evt_1")),
        Post::signed("shopify", &shopify(), SECRET, now(), click("evt_1")),
    ];
    for post in posts {
        for (name, value) in post.headers.clone() {
            let answer = site.post(&post.clone().header(&name, value)).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "invalid_signature"),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn the_body_is_signed_byte_for_byte() {
    let site = Site::open();
    let mut post = linktree(click("evt_1"));
    post.body = serde_json::from_slice::<serde_json::Value>(&post.body).unwrap().to_string().into();
    assert_eq!(site.post(&post).await.status, 403, "re-serialised on the way");
    // Not text at all, and still verified before anything looks at it.
    let answer = site.post(&linktree(b"\xff\xfe\x00".to_vec())).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_payload"));
}

#[tokio::test]
async fn shopify_without_padding_and_standard_among_other_versions_are_read() {
    let site = Site::open();
    let unpadded = |value: &[u8]| value.strip_suffix(b"=").expect("padded").to_vec();
    let post = Post::signed("shopify", &shopify(), SECRET, now(), click("evt_1"));
    let header = "x-shopify-hmac-sha256";
    assert_eq!(site.post(&post.with(header, unpadded)).await.status, 202);

    let wrong = STANDARD.encode([7; 32]);
    let listed = |value: &[u8]| [b"v1a,xyz v1,", wrong.as_bytes(), b" v2,abc ", value].concat();
    let post = Post::signed("standard", &Scheme::standard(), WHSEC, now(), click("evt_1"));
    assert_eq!(site.post(&post.with("webhook-signature", listed)).await.status, 202);
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_an_uncompressed_one_may_say_so() {
    let site = Site::open();
    for (encoding, status) in
        [("identity", 202), ("Identity", 202), ("br", 415), ("gzip", 415), ("identity, gzip", 415)]
    {
        let answer = site.post(&linktree(click("e")).header("content-encoding", encoding)).await;
        assert_eq!(answer.status, status, "{encoding}");
        let hint = (status == 415).then_some("identity");
        assert_eq!(answer.header("accept-encoding"), hint);
    }
}

#[tokio::test]
async fn a_chunked_delivery_is_as_good_as_one_of_declared_length() {
    let site = Site::open();
    let batch: Vec<String> = (0..50).map(|n| click(&format!("evt_{n}"))).collect();
    let post = linktree(format!("[{}]", batch.join(",")));
    let mut line = Line::open(site.address).await;
    line.send(&post.chunked()).await;
    let answer = line.answer().await;
    assert_eq!(answer.json()["events"], 50);
    // Except that it is the last of its connection: `smuggling.rs` says why.
    assert_eq!(answer.header("connection"), Some("close"));
    line.hung_up().await;
    assert_eq!(site.post(&post).await.json()["events"], 50);
}
