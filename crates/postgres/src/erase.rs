//! Forgetting a person: out of the archive day by day, and out of every rollup along with it.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use treehook_event::{Day, Erased, ProfileId, VisitorId};

use crate::{deltas, partitions, verify};

mod letters;
mod profile;
mod visitor;

/// How often a step is begun anew because somebody counted what it was about to rewrite, before
/// workers are held up for it: a profile that is busy just now may be counted many times a second.
const UNDISTURBED_MAX: u32 = 3;
/// How often it is begun at all: with workers held up, only somebody else who is being forgotten stands in the way.
const ATTEMPTS_MAX: u32 = 6;

/// What is counted after the transaction's moment and stands in the way makes it fail as a conflict, so
/// that an event is never emptied without its count, nor a count dropped without its event.
const ONE_MOMENT: &str = "begin isolation level repeatable read";

/// Who is to be forgotten.
#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    Visitor(VisitorId),
    Profile(&'a ProfileId),
}

/// What one transaction came to.
struct Step {
    /// Archived events that were rewritten.
    events: u64,
    /// Sketches that were rebuilt or dropped.
    sketches: u64,
    /// Profiles that a visitor has visited.
    profiles: BTreeSet<ProfileId>,
    /// Whether the day is done: there may be more than one transaction is meant to rewrite.
    finished: bool,
}

/// Forgets a visitor.
pub(crate) async fn visitor(connection: &mut PgConnection, id: VisitorId) -> sqlx::Result<Erased> {
    let subject = Subject::Visitor(id);
    let mut erased = Erased::default();
    let mut profiles = BTreeSet::new();
    for day in partitions::days_there(connection).await? {
        profiles.extend(forget_day(connection, subject, day, &mut erased).await?);
    }
    erased.sketches_kept = visitor::sketches_kept(connection, &profiles).await?;
    erased.dead_letters = letters::remove(connection, subject).await?;
    deltas::drop_stuck(connection).await?;
    Ok(erased)
}

/// Forgets a profile.
pub(crate) async fn profile(connection: &mut PgConnection, id: &ProfileId) -> sqlx::Result<Erased> {
    let subject = Subject::Profile(id);
    let mut erased = Erased::default();
    let mut days = partitions::days_there(connection).await?;
    // Rollups outlive their archive.
    days.extend(profile::days_left(connection, id).await?);
    for day in days {
        forget_day(connection, subject, day, &mut erased).await?;
    }
    forget_rest(connection, id, &mut erased).await?;
    erased.dead_letters = letters::remove(connection, subject).await?;
    deltas::drop_stuck(connection).await?;
    Ok(erased)
}

/// Forgets somebody on one day. Answers the profiles that a visitor has visited.
async fn forget_day(
    connection: &mut PgConnection,
    subject: Subject<'_>,
    day: Day,
    erased: &mut Erased,
) -> sqlx::Result<BTreeSet<ProfileId>> {
    let mut profiles = BTreeSet::new();
    let mut attempt = 1;
    loop {
        let alone = attempt > UNDISTURBED_MAX;
        match step(connection, subject, day, alone).await {
            Err(error) if attempt < ATTEMPTS_MAX && deltas::is_disturbed(&error) => attempt += 1,
            Err(error) => return Err(error),
            Ok(None) => attempt += 1,
            Ok(Some(step)) => {
                erased.events += step.events;
                erased.sketches += step.sketches;
                profiles.extend(step.profiles);
                if step.finished {
                    return Ok(profiles);
                }
            }
        }
    }
}

/// One transaction; nothing when it was disturbed.
async fn step(
    connection: &mut PgConnection,
    subject: Subject<'_>,
    day: Day,
    alone: bool,
) -> sqlx::Result<Option<Step>> {
    let isolation = match subject {
        // Each statement of its steps sees what is there by then.
        Subject::Visitor(_) => "begin",
        Subject::Profile(_) => ONE_MOMENT,
    };
    deltas::catch_up(connection).await?;
    let mut transaction = begin(connection, isolation, alone).await?;
    let step = match subject {
        Subject::Visitor(id) => visitor::step(&mut transaction, id, day).await?,
        // Counted after they were emptied, events would come back in the rollups. What waits at this moment
        // was recorded just now; what is recorded after it is not emptied either.
        Subject::Profile(id) if deltas::are_waiting_of(&mut transaction, id).await? => {
            return Ok(None);
        }
        Subject::Profile(id) => profile::step(&mut transaction, id, day).await?,
    };
    transaction.commit().await?;
    Ok(Some(step))
}

/// Forgets what has no day, and what was counted since its day was done. No worker records meanwhile:
/// what makes a profile known does not show whether anything still tells of it.
async fn forget_rest(
    connection: &mut PgConnection,
    id: &ProfileId,
    erased: &mut Erased,
) -> sqlx::Result<()> {
    let mut transaction = begin(connection, ONE_MOMENT, true).await?;
    for day in profile::days_left(&mut transaction, id).await? {
        loop {
            let step = profile::step(&mut transaction, id, day).await?;
            erased.events += step.events;
            erased.sketches += step.sketches;
            if step.finished {
                break;
            }
        }
    }
    profile::drop_projections(&mut transaction, id).await?;
    transaction.commit().await
}

/// Begins a transaction of a kind; `alone`, nobody records beside it.
async fn begin<'a>(
    connection: &'a mut PgConnection,
    isolation: &'static str,
    alone: bool,
) -> sqlx::Result<Transaction<'a, Postgres>> {
    let mut transaction = connection.begin_with(isolation).await?;
    sqlx::query(verify::STATEMENT_TIMEOUT).execute(&mut *transaction).await?;
    if alone {
        // Before the first query, which may set the moment.
        sqlx::query("lock table only events in share row exclusive mode")
            .execute(&mut *transaction)
            .await?;
        deltas::lock(&mut transaction).await?;
        deltas::fold_all(&mut transaction).await?;
    }
    Ok(transaction)
}

/// A length as a count.
fn whole(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
