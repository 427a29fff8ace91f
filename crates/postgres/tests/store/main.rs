//! What is Postgres' own: many workers at once, days of the archive, migrations,
//! verifying, forgetting, and the backlog.

mod backlog;
mod committing;
mod damage;
mod days;
mod deadletters;
mod deltas;
mod erasing;
mod harness;
mod history;
mod recording;
mod starting;
mod verifying;
