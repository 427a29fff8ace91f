//! What the public listener answers: deliveries, liveness, readiness, and nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper::body::Incoming;
use tower::Service;
use treehook_event::Intake;

use crate::door::{Door, Entrance};
use crate::ingest::{SourceName, ingest};
use crate::refusal::Refusal;

/// Where deliveries go: this, and a source's name.
const WEBHOOKS: &str = "/webhooks/";

/// What answers on the public listener. A delivery to a source by its name goes straight to where the router would take
/// it, which saves a tenth of its time; everything else goes through the router.
pub struct Front<I> {
    entrance: Arc<Entrance<I>>,
    router: Router,
}

impl<I: Intake + 'static> Front<I> {
    /// The front of this door.
    pub fn new(door: Door<I>) -> Self {
        let entrance = Arc::new(Entrance::new(door));
        let router = Router::new()
            .route("/webhooks/{source}", any(webhook::<I>))
            .route("/livez", get(livez).fallback(refuse_probe_method))
            .route("/readyz", get(readyz::<I>).fallback(refuse_probe_method))
            .fallback(async || Refusal::NotFound)
            .layer(from_fn(last_if_chunked))
            .with_state(Arc::clone(&entrance));
        Self { entrance, router }
    }

    fn is_delivery(&self, request: &Request<Incoming>) -> bool {
        let name = request.uri().path().strip_prefix(WEBHOOKS);
        request.method() == Method::POST
            && name.is_some_and(|name| self.entrance.door.sources.contains_key(name))
    }
}

// Derived, it would ask the intake to be cloned.
impl<I> Clone for Front<I> {
    fn clone(&self) -> Self {
        Self { entrance: Arc::clone(&self.entrance), router: self.router.clone() }
    }
}

impl<I: Intake + 'static> Service<Request<Incoming>> for Front<I> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if !self.is_delivery(&request) {
            return Box::pin(self.router.call(request));
        }
        let entrance = Arc::clone(&self.entrance);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let name = head.uri.path().strip_prefix(WEBHOOKS).unwrap_or_default();
            let mut response = ingest(&entrance, name, &head, Body::new(body)).await;
            close_if(is_chunked(&head.headers), &mut response);
            Ok(response)
        })
    }
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
        let (head, body) = request.into_parts();
        ingest(&entrance, &name, &head, body).await
    } else if entrance.door.sources.contains_key(&name) {
        Refusal::MethodNotAllowed { allow: "POST" }.into_response()
    } else {
        Refusal::UnknownSource.into_response()
    }
}

async fn last_if_chunked(request: Request, next: Next) -> Response {
    let is_chunked = is_chunked(request.headers());
    let mut response = next.run(request).await;
    close_if(is_chunked, &mut response);
    response
}

fn is_chunked(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
}

/// Where a chunked request ends is what parties in front of us may see differently, and with it where
/// the next one starts. No platform sends them, so that each may well be the last of its connection.
fn close_if(is_chunked: bool, response: &mut Response) {
    if is_chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn refuse_probe_method() -> Refusal {
    Refusal::MethodNotAllowed { allow: "GET, HEAD" }
}
