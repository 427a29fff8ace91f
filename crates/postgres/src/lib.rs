//! The server store on Postgres 13 or newer: archive, dedupe, rollups, projections, dead letters,
//! the queries that reports are made of, and the backlog of announcements.

mod archive;
mod backlog;
mod caution;
mod classify;
mod columns;
mod connect;
mod copy;
mod counts;
mod deadletters;
mod deltas;
mod erase;
mod folding;
mod ledger;
mod merge;
mod partitions;
mod planner;
mod record;
mod reports;
mod retold;
mod schema;
mod store;
mod subjects;
mod turns;
mod upkeep;
mod verify;

pub use backlog::{Backlog, BacklogConsumer, BacklogReceipt};
pub use connect::{Store, StoreOptions};
