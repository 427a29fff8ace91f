//! The console itself: what it needs, what bounds it, and which path leads where.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;
use treehook_event::{EventStore, Timestamp};

use crate::access::{self, Access};
use crate::answers;
use crate::assets;
use crate::reads::{self, Cache};
use crate::report;
use crate::sign_in;
use crate::status::PipelineStatus;

type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;
type StatusFuture = Pin<Box<dyn Future<Output = PipelineStatus> + Send>>;
type StatusSource = Box<dyn Fn() -> StatusFuture + Send + Sync>;

/// What the console may take and keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Profiles or milestones in one answer, at most.
    pub page_max: u32,
    /// Links, countries or referrers in one answer, at most.
    pub list_max: u32,
    /// Reads that may be at the store at once.
    pub reads_at_once: usize,
    /// How long a read may take, waiting for its turn included.
    pub read_timeout: Duration,
    /// Answers kept for those who ask the same again.
    pub cache_entries: usize,
    /// How old a kept answer may be; zero keeps none.
    pub cache_fresh_for: Duration,
    /// Attempts to sign in at once.
    pub sign_ins_at_once: usize,
    /// How long a wrong token waits for its refusal.
    pub sign_in_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One page of JSON stays below 1 MiB.
            page_max: 500,
            // A workspace can own a hundred thousand links; ten thousand are about 3 MB.
            list_max: 10_000,
            // Fewer than the connections of a store, so that readers never starve the workers.
            reads_at_once: 4,
            // What people wait for; the pipeline's own work goes first.
            read_timeout: Duration::from_secs(10),
            // With the largest answer that is kept (see `reads`), 16 MiB at most.
            cache_entries: 128,
            // Many tabs cost one read, and nobody can tell two seconds.
            cache_fresh_for: Duration::from_secs(2),
            // Eight guesses a second: hopeless against any token worth the name.
            sign_ins_at_once: 4,
            sign_in_delay: Duration::from_millis(500),
        }
    }
}

/// The read API and the dashboard over one store.
pub struct Console<S> {
    pub(crate) store: S,
    pub(crate) access: Access,
    pub(crate) now: Clock,
    pub(crate) status: StatusSource,
    pub(crate) limits: Limits,
    pub(crate) cache: Cache,
    pub(crate) reads: Semaphore,
    pub(crate) sign_ins: Semaphore,
}

impl<S> Console<S> {
    /// Over this store, for whom `access` says; `now` is the clock, `status` asks the pipeline.
    pub fn new<N, F, R>(store: S, access: Access, limits: Limits, now: N, status: F) -> Self
    where
        N: Fn() -> Timestamp + Send + Sync + 'static,
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = PipelineStatus> + Send + 'static,
    {
        Self {
            store,
            access,
            now: Box::new(now),
            status: Box::new(move || Box::pin(status())),
            cache: Cache::new(limits.cache_entries, limits.cache_fresh_for),
            reads: Semaphore::new(limits.reads_at_once),
            sign_ins: Semaphore::new(limits.sign_ins_at_once),
            limits,
        }
    }
}

/// Every path of the console, and no fallback: merge it with what else the listener serves.
pub fn router<S: EventStore + 'static>(console: Console<S>) -> Router {
    let console = Arc::new(console);
    let shared = || console.clone();
    let reads = Router::new()
        .route("/api/v1/profiles", get(answers::profiles::<S>))
        .route("/api/v1/profiles/{id}/analytics", get(answers::analytics::<S>))
        .route("/api/v1/profiles/{id}/links", get(answers::links::<S>))
        .route("/api/v1/profiles/{id}/audience", get(answers::audience::<S>))
        .route("/api/v1/profiles/{id}/milestones", get(answers::milestones::<S>))
        .route("/api/v1/profiles/{id}/report", get(report::report::<S>))
        .route_layer(from_fn_with_state(shared(), reads::in_turn::<S>))
        .route_layer(from_fn_with_state(shared(), reads::cached::<S>));
    let api = Router::new()
        .route("/api/v1/status", get(answers::status::<S>))
        .route("/api/openapi.json", get(assets::openapi))
        .route("/api/{*rest}", any(assets::not_found))
        .merge(reads)
        .route_layer(from_fn_with_state(shared(), access::authorized::<S>));
    Router::new()
        .route("/", get(assets::dashboard::<S>))
        .route("/assets/{name}", get(assets::asset))
        .route("/sign-in", post(sign_in::sign_in::<S>))
        .route("/sign-out", post(sign_in::sign_out))
        .merge(api)
        .route_layer(from_fn_with_state(shared(), access::reachable::<S>))
        .method_not_allowed_fallback(assets::method_not_allowed)
        .route_layer(from_fn(assets::protected))
        .with_state(console)
}
