//! The console itself: what it needs, what bounds it, and which path leads where.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use treehook_event::{EventStore, Subjects, Timestamp};

use crate::access::{self, Access};
use crate::actions::Actions;
use crate::reads::{self, Cache};
use crate::status::PipelineStatus;
use crate::{
    answers, assets, dead_letters, document, history, live, profiles, report, same_origin, sign_in,
    trend,
};

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
    pub(crate) actions: Actions,
    pub(crate) cache: Cache,
    pub(crate) reads: Semaphore,
    pub(crate) sign_ins: Semaphore,
}

impl<S> Console<S> {
    /// Over this store, for whom `access` says; `actions` are what can be done beyond reading,
    /// `now` is the clock, `status` asks the pipeline.
    pub fn new<N, F, R>(
        store: S,
        access: Access,
        limits: Limits,
        actions: Actions,
        now: N,
        status: F,
    ) -> Self
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
            actions,
        }
    }
}

/// Every path of the console, and no fallback: merge it with what else the listener serves.
pub fn router<S: EventStore + Subjects + 'static>(console: Console<S>) -> Router {
    let console = Arc::new(console);
    let shared = || console.clone();
    let in_turn = || from_fn_with_state(shared(), reads::in_turn::<S>);
    let reads = Router::new()
        .route("/api/v1/profiles", get(profiles::profiles::<S>))
        .route("/api/v1/profiles/{id}/analytics", get(answers::analytics::<S>))
        .route("/api/v1/profiles/{id}/live", get(live::live::<S>))
        .route("/api/v1/profiles/{id}/links", get(answers::links::<S>))
        .route("/api/v1/profiles/{id}/audience", get(answers::audience::<S>))
        .route("/api/v1/profiles/{id}/trend", get(trend::trend::<S>))
        .route("/api/v1/profiles/{id}/milestones", get(profiles::milestones::<S>))
        .route("/api/v1/profiles/{id}/history", get(history::history::<S>))
        .route("/api/v1/profiles/{id}/report", get(report::report::<S>))
        .route_layer(in_turn())
        .route_layer(from_fn_with_state(shared(), reads::cached::<S>));
    // Never from memory: whoever has just dealt with one wants to see it gone.
    let letters = Router::new()
        .route("/api/v1/dead-letters", get(dead_letters::list::<S>))
        .route(
            "/api/v1/dead-letters/{id}",
            get(dead_letters::show::<S>).delete(dead_letters::discard::<S>),
        )
        .route("/api/v1/dead-letters/{id}/redrive", post(dead_letters::redrive::<S>))
        .route_layer(in_turn());
    let api = Router::new()
        .route("/api/v1/status", get(answers::status::<S>))
        .route("/api/openapi.json", get(document::openapi))
        .route("/api/{*rest}", any(assets::not_found))
        .merge(reads)
        .merge(letters)
        .route_layer(from_fn_with_state(shared(), access::authorized::<S>));
    Router::new()
        .route("/", get(assets::dashboard::<S>))
        .route("/dead-letters", get(assets::dead_letters::<S>))
        .route("/assets/{name}", get(assets::asset))
        .route("/sign-in", post(sign_in::sign_in::<S>))
        .route("/sign-out", post(sign_in::sign_out))
        .merge(api)
        .route_layer(from_fn(same_origin::required))
        .route_layer(from_fn_with_state(shared(), access::reachable::<S>))
        .method_not_allowed_fallback(assets::method_not_allowed)
        .route_layer(from_fn(assets::protected))
        .route_layer(CompressionLayer::new())
        .with_state(console)
}
