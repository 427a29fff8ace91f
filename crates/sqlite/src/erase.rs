//! Forgetting a visitor or a profile: in steps, so that others can record in between, and safe to
//! repeat.

mod profile;
mod visitor;

use sqlx::query_scalar;
use treehook_event::{Erased, Failure, ProfileId, VisitorId};

use crate::classify::{failure, unscrubbed};
use crate::database::Database;

/// Archived events that are looked at in one step: some ten milliseconds.
const EVENTS_PER_STEP: i64 = 10_000;

/// Forgets a visitor.
pub(crate) async fn visitor(database: &Database, visitor: VisitorId) -> Result<Erased, Failure> {
    let erased = visitor::erase(database, visitor).await?;
    database.scrub().await.map_err(unscrubbed)?;
    Ok(erased)
}

/// Forgets a profile.
pub(crate) async fn profile(database: &Database, profile: &ProfileId) -> Result<Erased, Failure> {
    let erased = profile::erase(database, profile).await?;
    database.scrub().await.map_err(unscrubbed)?;
    Ok(erased)
}

/// The last event of the step after this one; none at the archive's end.
async fn step_end(database: &Database, after: i64) -> Result<Option<i64>, Failure> {
    query_scalar("select max(id) from (select id from events where id > ?1 order by id limit ?2)")
        .bind(after)
        .bind(EVENTS_PER_STEP)
        .fetch_one(database.readers())
        .await
        .map_err(failure)
}
