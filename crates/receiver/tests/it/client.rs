//! A small HTTP client that can misbehave: any header bytes, any pace, any framing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use treehook_event::{Scheme, SigningKey, Timestamp, sign};

/// Longest wait for anything in these tests: a machine under load is slow, a bug hangs for ever.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// Unsigned.
    pub(crate) fn plain(source: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { path: format!("/webhooks/{source}"), headers: Vec::new(), body: body.into() }
    }

    /// Signed as the scheme's sender would.
    pub(crate) fn signed(
        source: &str,
        scheme: &Scheme,
        secret: &str,
        at: Timestamp,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let key = SigningKey::decode(secret, scheme.key_encoding).expect("a test's secret");
        let mut post = Self::plain(source, body);
        for (name, value) in sign(scheme, &key, "msg_1", at, &post.body) {
            post.headers.push((name, value.into_bytes()));
        }
        post
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same request with another value for every header of this name.
    pub(crate) fn with(mut self, name: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        for (_, value) in self.headers.iter_mut().filter(|(given, _)| given == name) {
            *value = change(value);
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name);
        self
    }

    /// Request line and headers, with these framing headers.
    pub(crate) fn head(&self, framing: &str) -> Vec<u8> {
        let mut bytes =
            format!("POST {} HTTP/1.1\r\nHost: t\r\n{framing}\r\n", self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The whole request, its length declared.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(&format!("Content-Length: {}", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The whole request in chunks, its length not declared.
    pub(crate) fn chunked(&self) -> Vec<u8> {
        let mut bytes = self.head("Transfer-Encoding: chunked");
        for chunk in self.body.chunks(1000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The `code` of a problem, once its form is checked.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].is_string(), "{field}: {problem}");
        }
        problem["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Sends although the other side may have hung up.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(DEADLINE, self.stream.write_all(bytes)).await.expect("sent or refused in time")
    }

    /// Sends nothing more; what was sent is still answered.
    pub(crate) async fn finished(&mut self) {
        // The other side may be gone already.
        drop(self.stream.shutdown().await);
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(DEADLINE, self.read_answer(true)).await.expect("an answer in time")
    }

    /// Reads the answer to a HEAD, which announces a body and has none.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        timeout(DEADLINE, self.read_answer(false)).await.expect("an answer in time")
    }

    async fn read_answer(&mut self, with_body: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.read_more().await;
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).expect("ASCII");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |l| l.parse().expect("a length"));
        if with_body {
            while self.unread.len() < length {
                self.read_more().await;
            }
            answer.body = String::from_utf8(self.unread.drain(..length).collect()).expect("UTF-8");
        }
        answer
    }

    async fn read_more(&mut self) {
        let count = self.stream.read_buf(&mut self.unread).await.expect("readable");
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Waits until something has arrived, and reads none of it.
    pub(crate) async fn stays_unread(&self) {
        let arrived = timeout(DEADLINE, self.stream.readable()).await;
        arrived.expect("something arrives in time").expect("readable");
    }

    /// Waits until the other side has hung up; answers what came before.
    pub(crate) async fn hung_up(mut self) -> Vec<u8> {
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut self.unread)).await;
        match read.expect("hangs up in time") {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        self.unread
    }
}

/// One request on a connection of its own.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut line = Line::open(address).await;
    line.send(request).await;
    line.answer().await
}
