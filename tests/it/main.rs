//! The stories: HTTP in, API out, against real servers, with processes killed and connections cut.

mod commands;
mod contracts;
mod embedded;
mod fixtures;
mod harness;
mod outages;
mod server_mode;
mod traffic;
