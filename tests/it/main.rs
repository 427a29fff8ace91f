//! The stories: HTTP in, API out, against real servers, with processes killed and connections cut.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod commands;
mod contracts;
mod dead_letters;
mod diagnosis;
mod embedded;
mod figures;
mod fixtures;
mod harness;
mod ledger;
mod outages;
mod server_mode;
mod traffic;
