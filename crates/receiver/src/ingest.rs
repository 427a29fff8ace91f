//! The way of one delivery through the door: its checks, in their order, up to the answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use treehook_event::{Accepted, Claim, Event, Found, Intake, Source, parse, verify};

use crate::body;
use crate::door::Entrance;
use crate::meters::Meters;
use crate::refusal::{Refusal, Shortage};
use crate::telemetry::{self, Tally};

/// A delivery that is durable.
pub(crate) struct Taken {
    pub(crate) place: Accepted,
    pub(crate) tally: Tally,
    /// The body of the answer.
    receipt: Vec<u8>,
}

/// The last part of the path. One that is not UTF-8 names nobody.
pub(crate) struct SourceName(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for SourceName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(name.map_or_else(|_| String::new(), |Path(name)| name)))
    }
}

/// `POST /webhooks/{source}`.
pub(crate) async fn ingest<I: Intake + 'static>(
    entrance: &Arc<Entrance<I>>,
    name: &str,
    head: &Parts,
    mut body: Body,
) -> Response {
    let started = Instant::now();
    let meters = entrance.meters(name);
    let outcome = match entrance.door.sources.get(name) {
        Some(source) => take(entrance, source, meters, &head.headers, &mut body).await,
        None => Err(Refusal::UnknownSource),
    };
    telemetry::delivery(meters, &head.headers, &outcome, started);
    match outcome {
        Ok(taken) => taken.into_response(),
        Err(refusal) => {
            if let Refusal::NotAccepting(shortage) = &refusal
                && entrance.may_warn()
            {
                telemetry::not_accepting(shortage);
            }
            // A sender that waits to be told to go on has not begun to send.
            if refusal.leaves_the_body() && !head.headers.contains_key(header::EXPECT) {
                body::discard(&mut body).await;
            }
            refusal.into_response()
        }
    }
}

/// Every check in the order of the answers table, then the promise.
async fn take<I: Intake + 'static>(
    entrance: &Arc<Entrance<I>>,
    source: &Source,
    meters: &Meters,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Taken, Refusal> {
    let door = &entrance.door;
    refuse_compressed(headers)?;
    let in_flight = Arc::clone(&entrance.in_flight)
        .try_acquire_owned()
        .map_err(|_| Refusal::NotAccepting(Shortage::Deliveries))?;
    // By the declared length, before a byte is read.
    if body.size_hint().lower() > door.limits.max_body as u64 {
        return Err(Refusal::PayloadTooLarge { limit: door.limits.max_body });
    }
    let claim = Claim::read(&source.scheme, |name| find(headers, name))?;
    let mut held = body::read(body, &door.limits, Arc::clone(&entrance.body_bytes)).await?;
    let events = {
        let now = (door.now)();
        let verified = verify(source, &claim, held.bytes(), now)?;
        meters.secret_match(verified.secret());
        parse(&verified, source, &door.context, now)?
    };
    held.becomes(&events)?;
    // What is said of the events is made now: from here on they are somebody else's.
    let (receipt, tally) = (receipt(&events), Tally::of(&events));
    // A sender that hangs up must not give its places back while its events are still held.
    match door.intake.take_in(events, Box::new((in_flight, held))).await {
        Ok(place) => Ok(Taken { place, tally, receipt }),
        Err(failure) => Err(Refusal::NotAccepting(Shortage::Publisher(failure))),
    }
}

/// Compressed bodies could unfold to any size, and no platform sends them.
fn refuse_compressed(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        Ok(())
    } else {
        Err(Refusal::UnsupportedEncoding)
    }
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Found::Absent,
        (Some(value), None) => Found::Once(value.as_bytes()),
        (Some(_), Some(_)) => Found::Repeated,
    }
}

/// The body of a 202.
fn receipt(events: &[Event]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Receipt<'a> {
        status: &'static str,
        events: usize,
        ids: Vec<&'a str>,
    }
    let ids = events.iter().map(|event| event.identity.as_str()).collect();
    let receipt = Receipt { status: "accepted", events: events.len(), ids };
    serde_json::to_vec(&receipt).expect("texts and numbers become JSON")
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        let content_type = HeaderValue::from_static("application/json");
        (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, content_type)], self.receipt).into_response()
    }
}
