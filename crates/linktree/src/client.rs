//! The client: one way out for every request, past the limit and the circuit, again if need be.

use std::sync::Mutex;
use std::time::Duration;

use metrics::counter;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::backoff::pause;
use crate::circuit::Circuit;
use crate::classify::{of_status, of_transport, shown};
use crate::error::ApiError;
use crate::limit::Limit;
use crate::settings::{BadSettings, RetryRule, Settings};
use crate::webhook::{Listing, Registration, Webhook};

/// Longest answer that is read, in bytes: thousands of webhooks.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// Where Linktree says which version answered.
const VERSION_HEADER: &str = "x-linktree-api-version";

/// Linktree's API. Cheap to keep; one per token, since limit and circuit are its own.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    retry: RetryRule,
    limit: Limit,
    circuit: Circuit,
    version: Mutex<Option<String>>,
}

/// One request, as often as it is sent.
struct Call<'a> {
    method: Method,
    url: Url,
    registration: Option<Registration<'a>>,
}

impl Client {
    /// Nothing is sent yet. The process's cryptography provider must be installed.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let base = settings.base()?;
        if base.scheme() == "http" && base.host_str() != Some("127.0.0.1") {
            warn!("the API key travels unencrypted: LINKTREE_BASE_URL is a plain http address");
        }
        let headers = HeaderMap::from_iter([(AUTHORIZATION, settings.authorization()?)]);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("treehook/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            // A token is for the host it was meant for, and for no other.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| BadSettings::HttpClient(error.to_string()))?;
        Ok(Self {
            http,
            base,
            timeout: settings.timeout,
            retry: settings.retry,
            limit: Limit::new(settings.quota),
            circuit: Circuit::new(settings.circuit),
            version: Mutex::new(None),
        })
    }

    /// Asks Linktree to send events of these types to this address.
    pub async fn register(&self, url: &str, events: &[String]) -> Result<Webhook, ApiError> {
        let registration = Some(Registration { url, events });
        let call = Call { method: Method::POST, url: self.address(None)?, registration };
        let body = self.call(&call).await?;
        let made: Webhook = read(&body)?;
        // An answer need not repeat what it was asked.
        Ok(Webhook {
            id: made.id,
            url: made.url.or_else(|| Some(url.to_owned())),
            events: if made.events.is_empty() { events.to_vec() } else { made.events },
        })
    }

    /// Every webhook of the token's account.
    pub async fn list(&self) -> Result<Vec<Webhook>, ApiError> {
        let call = Call { method: Method::GET, url: self.address(None)?, registration: None };
        let body = self.call(&call).await?;
        read::<Listing>(&body).map(Listing::into_webhooks)
    }

    /// Asks Linktree to forget a webhook.
    pub async fn delete(&self, id: &str) -> Result<(), ApiError> {
        let call =
            Call { method: Method::DELETE, url: self.address(Some(id))?, registration: None };
        self.call(&call).await.map(drop)
    }

    /// The API's version as the latest answer named it.
    pub fn api_version(&self) -> Option<String> {
        self.version.lock().expect("nobody panics while holding it").clone()
    }

    fn address(&self, id: Option<&str>) -> Result<Url, ApiError> {
        // These would name another resource than a webhook.
        if id.is_some_and(|id| matches!(id.trim(), "" | "." | "..")) {
            return Err(ApiError::BadId);
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("a web address has a path")
            .pop_if_empty()
            .push("webhooks")
            .extend(id);
        Ok(url)
    }

    /// Sends until it is answered for good, or until another attempt makes no sense.
    async fn call(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let mut attempts = 1;
        loop {
            let error = match self.attempt(call).await {
                Ok(body) => return Ok(body),
                // Gone after an attempt of ours that failed half-way: that is what was wanted.
                Err(ApiError::NotFound) if attempts > 1 && call.method == Method::DELETE => {
                    return Ok(Vec::new());
                }
                Err(error) => error,
            };
            let Some(wait) = pause(&self.retry, attempts, &error, rand::random()) else {
                return Err(error);
            };
            // What opened the circuit says more than that it is open.
            if self.circuit.is_open(Instant::now()) {
                return Err(error);
            }
            debug!("trying again in {wait:?}: {error}");
            sleep(wait).await;
            attempts += 1;
        }
    }

    /// Sends once, if circuit and limit let it.
    async fn attempt(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let outcome = match self.circuit.admit(Instant::now()) {
            Ok(()) => self.admitted(call).await,
            Err(rest) => Err(ApiError::CircuitOpen(rest)),
        };
        let label = outcome.as_ref().map_or_else(ApiError::outcome, |_| "ok");
        counter!("treehook_linktree_requests_total", "outcome" => label).increment(1);
        outcome
    }

    async fn admitted(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        self.limit.pass().await;
        let outcome = self.exchange(call).await;
        let failed = outcome.as_ref().is_err_and(ApiError::counts_against_the_service);
        if self.circuit.note(failed, Instant::now()) {
            warn!("Linktree's API failed several times in a row and is left alone");
        }
        outcome
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if let Some(registration) = &call.registration {
            request = request.json(registration);
        }
        let mut response =
            request.send().await.map_err(|error| of_transport(&error, self.timeout))?;
        self.note_version(response.headers());
        let body = self.whole(&mut response).await?;
        of_status(response.status(), response.headers(), &body)?;
        Ok(body)
    }

    async fn whole(&self, response: &mut Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| of_transport(&error, self.timeout))?
        {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(ApiError::Unreadable(format!("longer than {LONGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn note_version(&self, headers: &HeaderMap) {
        let Some(told) = headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok()) else {
            return;
        };
        let told = shown(told);
        let mut known = self.version.lock().expect("nobody panics while holding it");
        match known.as_deref() {
            Some(before) if before == told => return,
            Some(before) => warn!(before, now = told, "Linktree's API has another version"),
            None => info!(now = told, "Linktree's API names its version"),
        }
        *known = Some(told);
    }
}

/// Says where and not what: the parser's own message may quote the answer.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::Unreadable(format!("not the JSON that was expected, at {place}"))
    })
}
