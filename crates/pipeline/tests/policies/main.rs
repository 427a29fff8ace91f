//! The loop and the policies, against a publisher, a consumer and a handler that fail on demand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod bursts;
mod draining;
mod gathering;
mod relaying;
mod setup;
