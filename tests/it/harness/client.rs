//! A platform's side: signs, sends, and asks the API what came of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use treehook_event::{KeyEncoding, Scheme, SigningKey, Timestamp, sign};

/// The secret that every test deployment has for `linktree`.
pub(crate) const SECRET: &str = "a-secret-for-tests";

/// An HTTP client that knows the secret.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

impl Client {
    pub(crate) fn new() -> Self {
        // Whoever is first installs it for all tests of this process.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(30))
            .no_proxy()
            .build()
            .unwrap();
        Self { http }
    }

    /// Posts a signed delivery to `linktree`; the status and the body of the answer, or why there is none.
    pub(crate) async fn try_post(
        &self,
        to: SocketAddr,
        body: &Value,
    ) -> Result<(u16, Value), reqwest::Error> {
        let body = body.to_string();
        let key = SigningKey::decode(SECRET, KeyEncoding::Utf8).unwrap();
        let mut request = self.http.post(format!("http://{to}/webhooks/linktree"));
        for (name, value) in sign(&Scheme::linktree(), &key, "", now(), body.as_bytes()) {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    /// As [`Client::try_post`], with an answer for sure.
    pub(crate) async fn post(&self, to: SocketAddr, body: &Value) -> (u16, Value) {
        self.try_post(to, body).await.unwrap()
    }

    /// Gets a text.
    pub(crate) async fn text(&self, to: SocketAddr, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("http://{to}{path}")).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// Gets JSON.
    pub(crate) async fn get(&self, to: SocketAddr, path: &str) -> Value {
        let (status, text) = self.text(to, path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Clicks per link over all days that an event of a test can be of; empty while the profile is
    /// not known. An hour before midnight, what is dated an hour ahead is of tomorrow.
    pub(crate) async fn clicks(&self, admin: SocketAddr, profile: &str) -> BTreeMap<String, u64> {
        let today = now().day();
        let (from, to) = (today.plus(-90).to_iso(), today.plus(1).to_iso());
        let path = format!("/api/v1/profiles/{profile}/links?from={from}&to={to}");
        let (status, text) = self.text(admin, &path).await;
        if status != 200 {
            return BTreeMap::new();
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        let links = answer["links"].as_array().unwrap_or_else(|| panic!("{answer}"));
        links
            .iter()
            .map(|link| {
                (link["link_id"].as_str().unwrap().to_owned(), link["clicks"].as_u64().unwrap())
            })
            .collect()
    }

    /// The sum of a counting metric over its labels.
    pub(crate) async fn metric(&self, admin: SocketAddr, name: &str) -> u64 {
        let (_, text) = self.text(admin, "/metrics").await;
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}
