//! Linktree's API, as far as treehook needs it: registering, listing and deleting webhooks.

mod backoff;
mod circuit;
mod classify;
mod client;
mod error;
mod limit;
mod settings;
mod webhook;

pub use client::Client;
pub use error::ApiError;
pub use settings::{BadSettings, CircuitRule, DEFAULT_BASE_URL, Quota, RetryRule, Settings};
pub use webhook::Webhook;
