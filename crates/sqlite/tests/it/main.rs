//! What is SQLite's own in queue and store; what every backend owes stands in the conformance suites.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which may unwrap like the tests themselves"
)]

mod deadly;
mod disk;
mod erase;
mod forgotten;
mod history;
mod queue;
mod sample;
mod settle;
mod store;
mod verify;
