//! The server store on Postgres 13 or newer: archive, dedupe, rollups, projections, dead letters and
//! the queries that reports are made of.

mod archive;
mod classify;
mod columns;
mod connect;
mod counts;
mod deadletters;
mod merge;
mod partitions;
mod record;
mod reports;
mod schema;
mod store;
mod upkeep;
mod verify;

pub use connect::{Store, StoreOptions};
