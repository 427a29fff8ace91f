//! The admin listener: metrics and health for everybody who reaches it, the console for whoever may read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::warn;
use treehook_console::{
    Access, Actions, BrokerState, Console, DatabaseState, Limits, OutboxDepth, PipelineStatus,
    QueueDepth,
};
use treehook_event::{EventStore as _, Failure, Tally};

use crate::clock;
use crate::redrive::redrive_from_here;
use crate::store::Store;
use crate::vitals::{Vitals, oldest_seconds};

/// What the admin listener shows.
pub(crate) struct AdminParts {
    /// What reports are made from; without one there is no console.
    pub(crate) store: Option<Store>,
    /// Who may read.
    pub(crate) token: Option<SecretString>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What is scraped.
    pub(crate) metrics: PrometheusHandle,
    /// How the parts are.
    pub(crate) vitals: Vitals,
}

/// Its routes.
pub(crate) fn router(parts: AdminParts) -> Result<Router, Failure> {
    let own = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(Arc::new((parts.metrics, parts.vitals.clone())));
    let Some(store) = parts.store else { return Ok(own) };
    let token = parts.token.as_ref().map(SecretString::expose_secret);
    let access = Access::of(token, parts.address).map_err(|problem| {
        Failure::fatal("configuration", format!("TREEHOOK_API_TOKEN: {problem}"))
    })?;
    if matches!(access, Access::Closed) {
        warn!(
            "TREEHOOK_ADMIN_LISTEN is reachable from other machines and TREEHOOK_API_TOKEN is not \
             set: only metrics and health are served there"
        );
    }
    Ok(own.merge(console(store, access, parts.vitals)))
}

/// The console over this store.
pub(crate) fn console(store: Store, access: Access, vitals: Vitals) -> Router {
    let actions = if vitals.broker.is_some() || vitals.queue.is_some() {
        let (store, vitals) = (store.clone(), vitals.clone());
        Actions::redriving(move |letters| {
            let (store, vitals) = (store.clone(), vitals.clone());
            async move { redrive_from_here(&vitals, &store, letters).await }
        })
    } else {
        Actions::none()
    };
    let asked = store.clone();
    let status = move || status(asked.clone(), vitals.clone());
    let limits = Limits::default();
    treehook_console::router(Console::new(store, access, limits, actions, clock::now, status))
}

type Shared = Arc<(PrometheusHandle, Vitals)>;

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.0.render())
        .into_response()
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let vitals = &shared.1;
    // A process without a front door is ready when what it works on is.
    let (ready, parts) = if vitals.accepted.is_some() {
        let readiness = vitals.readiness();
        (readiness.accepting, readiness.parts)
    } else {
        let parts = vec![("broker", vitals.broker_word()), ("database", vitals.database_word())];
        (parts.iter().all(|(_, word)| matches!(*word, "up" | "none")), parts)
    };
    let mut answer = serde_json::Map::new();
    answer.insert("status".to_owned(), if ready { "ready" } else { "not_ready" }.into());
    answer.extend(parts.into_iter().map(|(part, word)| (part.to_owned(), word.into())));
    let status = if ready {
        axum::http::StatusCode::OK
    } else {
        axum::http::StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(serde_json::Value::Object(answer))).into_response()
}

async fn status(store: Store, vitals: Vitals) -> PipelineStatus {
    let tally = store.tally().await.ok();
    let depth = vitals.queue.as_ref().and_then(|outbox| Some((outbox, outbox.depth()?)));
    let local = depth.as_ref().filter(|(outbox, _)| outbox.is_queue).map(|(_, depth)| depth);
    let queue = match (&vitals.broker, local) {
        (_, Some(depth)) => Some(QueueDepth::Events(depth.events)),
        (Some(broker), None) => {
            broker.queue_depth().await.ok().map(|depths| QueueDepth::Messages(depths.aggregate))
        }
        (None, None) => None,
    };
    let lag_seconds = match queue {
        Some(QueueDepth::Messages(0)) if vitals.queue.is_none() => Some(0.0),
        // The oldest event in the queue or the outbox here is what is furthest behind.
        Some(QueueDepth::Messages(0) | QueueDepth::Events(_)) => {
            depth.as_ref().map(|(_, depth)| oldest_seconds(depth).unwrap_or(0.0))
        }
        // The broker tells how many messages wait, not since when: what was applied last tells.
        Some(QueueDepth::Messages(1..)) => newest_age(tally.as_ref()),
        None => None,
    };
    PipelineStatus {
        accepted: vitals.accepted.as_ref().map(|accepted| accepted.load(Ordering::Relaxed)),
        applied: tally.as_ref().map(|tally| tally.applied),
        duplicates: tally.as_ref().map(|tally| tally.duplicates),
        dead: tally.as_ref().map(|tally| tally.dead),
        outbox: depth.as_ref().filter(|(outbox, _)| !outbox.is_queue).map(|(_, depth)| {
            OutboxDepth {
                events: depth.events,
                bytes: depth.bytes,
                oldest_seconds: oldest_seconds(depth),
            }
        }),
        queue,
        lag_seconds,
        broker: match vitals.broker_word() {
            "up" => BrokerState::Up,
            "blocked" => BrokerState::Blocked,
            "none" => BrokerState::None,
            _ => BrokerState::Down,
        },
        database: if tally.is_some() { DatabaseState::Up } else { DatabaseState::Down },
    }
}

/// Age of the latest event that was applied, in seconds.
fn newest_age(tally: Option<&Tally>) -> Option<f64> {
    let age = clock::now().millis_since(tally?.newest_event?).max(0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of an age")]
    Some(age as f64 / 1000.0)
}
