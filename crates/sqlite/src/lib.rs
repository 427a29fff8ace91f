//! Queue and store on SQLite: embedded mode, and the outbox.
//!
//! Two files in the data directory, not one: SQLite has one writer per file, and a transaction that
//! records a thousand events must not stand between a delivery and its 202.

mod archive;
mod bulk;
mod classify;
mod consumer;
mod counts;
mod database;
mod dead;
mod erase;
mod history;
mod ledger;
mod merged;
mod minutes;
mod queue;
mod record;
mod recount;
mod reports;
mod retention;
mod rows;
mod states;
mod store;
mod suspicion;
mod take;
mod verify;
mod visitors;
mod writer;

pub use consumer::{QueueConsumer, Receipt};
pub use queue::{Depth, Queue, QueueLimits};
pub use store::Store;
