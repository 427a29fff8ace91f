//! Verifying: the archive recounted against every rollup, and what differs rebuilt from it.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use treehook_event::{Day, Difference, LinkState, ProfileState, Sketch, Timestamp};

use crate::columns::date;
use crate::{classify, deltas, partitions};

mod damage;
mod recount;
mod remerge;

use damage::{IN_LINK_VISITORS, IN_LINKS, IN_PROFILE_VISITORS, IN_PROFILES};
use recount::RECOUNTS;
use remerge::{OF_LINK_VISITORS, OF_LINKS, OF_PROFILE_VISITORS, OF_PROFILES};

/// Differences listed: enough to see what is wrong, and no more than people can read. A repair mends
/// those beyond it too.
const DIFFERENCES_MAX: usize = 10_000;

/// Statements of ours that read the whole archive: what `statement_timeout` is otherwise set to is
/// meant for batches and reports.
pub(crate) const STATEMENT_TIMEOUT: &str = "set local statement_timeout = '1h'";

/// What to do with a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    List,
    Repair,
}

/// The differences found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Difference>);

impl Findings {
    fn room(&self) -> usize {
        DIFFERENCES_MAX - self.0.len()
    }

    fn add(&mut self, difference: Difference) {
        if self.room() > 0 {
            self.0.push(difference);
        }
    }
}

/// Lists the differences as of one moment, while workers go on. Until then `gate` keeps them out, unless whoever asks
/// may read and no more: at that moment nothing that is archived waits to be folded in.
pub(crate) async fn survey(
    connection: &mut PgConnection,
    gate: &mut PgConnection,
) -> sqlx::Result<Vec<Difference>> {
    // Most of it while workers go on.
    catch_up(connection).await?;
    let closed = close(gate).await?;
    catch_up(connection).await?;
    let mut transaction =
        connection.begin_with("begin isolation level repeatable read, read only").await?;
    sqlx::query(STATEMENT_TIMEOUT).execute(&mut *transaction).await?;
    // Before the first query, which sets the moment: a day that were dropped after it would leave
    // its events behind in the rollups alone.
    sqlx::query("lock table only events in access share mode").execute(&mut *transaction).await?;
    // The first query.
    let archive_from = partitions::archive_from(&mut transaction).await?;
    if let Some(closed) = closed {
        closed.rollback().await?;
    }
    deltas::refuse_waiting(&mut transaction).await?;
    let findings = compare(&mut transaction, archive_from, Mode::List).await?;
    transaction.rollback().await?;
    Ok(findings)
}

/// How long workers are kept from the archive by somebody who waits for it, and how often that is tried: somebody
/// who is being forgotten may have it for minutes.
const GATE_PATIENCE: &str = "set local lock_timeout = '2s'";
const GATE_ATTEMPTS_MAX: u32 = 10;

/// Keeps workers out; nothing for whoever may read and no more.
async fn close(gate: &mut PgConnection) -> sqlx::Result<Option<Transaction<'_, Postgres>>> {
    let mut transaction = gate.begin().await?;
    let mut attempt = 1;
    loop {
        sqlx::query(GATE_PATIENCE).execute(&mut *transaction).await?;
        let locking = sqlx::query("lock table only events in share row exclusive mode");
        match locking.execute(&mut *transaction).await {
            Ok(_) => return Ok(Some(transaction)),
            Err(error) if classify::may_not_write(&error) => {
                transaction.rollback().await?;
                return Ok(None);
            }
            Err(error) if classify::is_lock_timeout(&error) && attempt < GATE_ATTEMPTS_MAX => {
                sqlx::query("rollback and chain").execute(&mut *transaction).await?;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whoever may not write learns from what is left whether others have.
async fn catch_up(connection: &mut PgConnection) -> sqlx::Result<()> {
    match deltas::catch_up(connection).await {
        Err(error) if classify::may_not_write(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Rewrites what differs, while workers wait. Answers what differed.
pub(crate) async fn repair(connection: &mut PgConnection) -> sqlx::Result<Vec<Difference>> {
    let mut transaction = connection.begin_with("begin isolation level repeatable read").await?;
    sqlx::query(STATEMENT_TIMEOUT).execute(&mut *transaction).await?;
    // In the order in which workers and whoever folds visit them, and before the first query: what they had
    // in flight is done, and part of what is recounted. Reports go on, and do not wait for it.
    sqlx::query(
        "lock table only events, rollup_folding, link_hours, link_days, profile_hours, audience, profile_visitors,
             link_visitors, profiles, links in share row exclusive mode",
    )
    .execute(&mut *transaction)
    .await?;
    deltas::fold_all(&mut transaction).await?;
    // The archive is counted whole, and with it what could not be added.
    deltas::drop_stuck(&mut transaction).await?;
    let archive_from = partitions::archive_from(&mut transaction).await?;
    let findings = compare(&mut transaction, archive_from, Mode::Repair).await?;
    transaction.commit().await?;
    Ok(findings)
}

async fn compare(
    connection: &mut PgConnection,
    archive_from: Option<Day>,
    mode: Mode,
) -> sqlx::Result<Vec<Difference>> {
    let from = date(archive_from.unwrap_or_else(first_day));
    let mut findings = Findings::default();
    for recount in &RECOUNTS {
        recount.run(connection, from, mode, &mut findings).await?;
    }
    OF_PROFILE_VISITORS.run::<Sketch>(connection, from, mode, &mut findings).await?;
    OF_LINK_VISITORS.run::<Sketch>(connection, from, mode, &mut findings).await?;
    // A state may come from any day: it can be told again only while the archive holds them all.
    if archive_from.is_none() {
        OF_PROFILES.run::<ProfileState>(connection, from, mode, &mut findings).await?;
        OF_LINKS.run::<LinkState>(connection, from, mode, &mut findings).await?;
    } else {
        IN_PROFILE_VISITORS.run::<Sketch>(connection, from, mode, &mut findings).await?;
        IN_LINK_VISITORS.run::<Sketch>(connection, from, mode, &mut findings).await?;
        IN_PROFILES.run::<ProfileState>(connection, from, mode, &mut findings).await?;
        IN_LINKS.run::<LinkState>(connection, from, mode, &mut findings).await?;
    }
    Ok(findings.0)
}

/// The day before which no event time lies.
fn first_day() -> Day {
    Timestamp::from_millis(i64::MIN).day()
}
