//! The read API and the dashboard: answers about what was counted, for programs and for people.

mod access;
mod answers;
mod assets;
mod console;
mod parameters;
mod problem;
mod reads;
mod report;
mod sign_in;
mod spreadsheet;
mod status;

pub use access::{Access, BadToken, Token};
pub use console::{Console, Limits, router};
pub use status::{BrokerState, DatabaseState, OutboxDepth, PipelineStatus, QueueDepth};
