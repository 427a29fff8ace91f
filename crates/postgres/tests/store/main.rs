//! What is Postgres' own: many workers at once, days of the archive, migrations, verifying.

mod days;
mod deadletters;
mod harness;
mod recording;
mod starting;
mod verifying;
