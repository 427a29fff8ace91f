//! What the public listener answers: deliveries, liveness, readiness, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use treehook_event::Intake;

use crate::door::{Door, Entrance};
use crate::ingest::{SourceName, ingest};
use crate::refusal::Refusal;

/// The public routes.
pub fn router<I: Intake + 'static>(door: Door<I>) -> Router {
    Router::new()
        .route("/webhooks/{source}", any(webhook::<I>))
        .route("/livez", get(livez).fallback(refuse_probe_method))
        .route("/readyz", get(readyz::<I>).fallback(refuse_probe_method))
        .fallback(async || Refusal::NotFound)
        .layer(from_fn(last_if_chunked))
        .with_state(Arc::new(Entrance::new(door)))
}

async fn livez() -> Response {
    Json(BTreeMap::from([("status", "alive")])).into_response()
}

async fn readyz<I: Intake>(State(entrance): State<Arc<Entrance<I>>>) -> Response {
    let readiness = (entrance.door.readiness)();
    let (status, word) = if readiness.accepting {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let mut parts: BTreeMap<_, _> = readiness.parts.into_iter().collect();
    parts.insert("status", word);
    (status, Json(parts)).into_response()
}

/// An unknown source is unknown by any method, so the method is looked at second.
async fn webhook<I: Intake + 'static>(
    State(entrance): State<Arc<Entrance<I>>>,
    SourceName(name): SourceName,
    request: Request,
) -> Response {
    if request.method() == Method::POST {
        ingest(&entrance, &name, request).await
    } else if entrance.door.sources.contains_key(&name) {
        Refusal::MethodNotAllowed { allow: "POST" }.into_response()
    } else {
        Refusal::UnknownSource.into_response()
    }
}

/// Where a chunked request ends is what parties in front of us may see differently, and with it where
/// the next one starts. No platform sends them, so that each may well be the last of its connection.
async fn last_if_chunked(request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if is_chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn refuse_probe_method() -> Refusal {
    Refusal::MethodNotAllowed { allow: "GET, HEAD" }
}
