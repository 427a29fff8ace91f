//! What batches add to the rollups, kept until it is folded in: recording waits for no row that others write, and
//! a hot row is written once for many batches.
//!
//! Locks are taken in one order: the archive, then `rollup_folding`, then the rollups.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::debug;
use treehook_event::{DELTA_VERSION, ProfileId, Timestamp, traces_in_delta};

use crate::classify;
use crate::columns::moment;
use crate::folding::{FOLDED_BYTES, FOLDED_MAX, fold_some};

/// Bytes of deltas from which on waiting longer pays: they bring most of their rows many times, and a row is written
/// once for all of them.
const MANY_BYTES: i64 = 256 << 10;
/// How many times as long they wait, at most.
const MANY_WAIT: u32 = 5;

/// Bytes of deltas that wait from which on whoever records waits too, so that those who read find what is recent: some
/// 720,000 events.
const BEHIND_BYTES: i64 = 2 * FOLDED_BYTES;
/// How long a batch waits then, at most: what cannot be folded must not keep events from being recorded.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// How often a fold is begun anew because somebody was forgotten just then.
const ATTEMPTS_MAX: u32 = 3;

/// How long whoever reads waits for the lock. Folding takes less; forgetting and repairing may take hours.
const READERS_LOCK_TIMEOUT: &str = "set local lock_timeout = '3s'";
/// How long whoever reads goes on folding: where nobody did for hours, there is more than a reader waits for.
const READERS_PATIENCE: Duration = Duration::from_secs(3);

/// What folding may take, all in all, before whoever waits for it gives up.
pub(crate) const FOLD_MAX: Duration = Duration::from_mins(2);

/// Whether folding has fallen behind recording, as far as this process has looked.
#[derive(Debug, Default)]
pub(crate) struct Behind(watch::Sender<bool>);

impl Behind {
    pub(crate) fn set(&self, is_behind: bool) {
        self.0.send_if_modified(|before| std::mem::replace(before, is_behind) != is_behind);
    }

    /// Waits until it is not, for a while.
    pub(crate) async fn wait(&self) {
        let mut is_behind = self.0.subscribe();
        // Over or not, and whether anybody still looks: what is to be recorded is recorded.
        drop(timeout(BEHIND_MAX, is_behind.wait_for(|is_behind| !is_behind)).await);
    }
}

/// Keeps what a batch adds, in the batch's transaction.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    delta: Option<Vec<u8>>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let Some(delta) = delta else { return Ok(()) };
    sqlx::query("insert into rollup_deltas (version, recorded_at, delta) values ($1, $2, $3)")
        .bind(DELTA_VERSION)
        .bind(moment(now))
        .bind(delta)
        .execute(connection)
        .await?;
    Ok(())
}

/// Folds all that was recorded before this was called.
pub(crate) async fn catch_up(connection: &mut PgConnection) -> sqlx::Result<()> {
    catch_up_within(connection, None).await
}

/// As [`catch_up`]; a reader begins nothing more once its patience is over, and fails where the lock is not to
/// be had.
async fn catch_up_within(
    connection: &mut PgConnection,
    reader: Option<Instant>,
) -> sqlx::Result<()> {
    let Some(newest) = newest(connection).await? else { return Ok(()) };
    let mut attempt = 1;
    loop {
        match fold_in_turn(connection, newest, reader.is_some()).await {
            Ok(true) if reader.is_some_and(|until| Instant::now() >= until) => return Ok(()),
            Ok(true) => attempt = 1,
            Ok(false) => return Ok(()),
            Err(error) if is_disturbed(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// One transaction of [`catch_up`]. Answers whether there may be more.
async fn fold_in_turn(
    connection: &mut PgConnection,
    newest: i64,
    is_reader: bool,
) -> sqlx::Result<bool> {
    let mut transaction = connection.begin().await?;
    if is_reader {
        sqlx::query(READERS_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    }
    lock(&mut transaction).await?;
    let more = fold_some(&mut transaction, newest).await?;
    transaction.commit().await?;
    Ok(more)
}

/// Whether somebody was forgotten just then: a row was there for the insert and gone for the merge, or another
/// transaction came first.
pub(crate) fn is_disturbed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::RowNotFound) || classify::is_conflict(error)
}

/// As [`catch_up`], if anything has waited for so long, much of it for five times as long, and nobody else is folding.
/// So it is folded as often with many workers as with one.
pub(crate) async fn catch_up_if_due(
    connection: &mut PgConnection,
    waited: Duration,
    behind: &Behind,
) -> sqlx::Result<()> {
    let Some(newest) = newest(connection).await? else {
        behind.set(false);
        return Ok(());
    };
    while is_due(connection, newest, waited, behind).await? {
        let mut transaction = connection.begin().await?;
        let locked = sqlx::query("lock table rollup_folding in exclusive mode nowait");
        match locked.execute(&mut *transaction).await {
            Ok(_) => (),
            Err(error) if classify::is_lock_timeout(&error) => return transaction.rollback().await,
            Err(error) => return Err(error),
        }
        fold_some(&mut transaction, newest).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Whether what waits, up to `newest`, has waited for long enough, or is as much as is folded at once.
async fn is_due(
    connection: &mut PgConnection,
    newest: i64,
    waited: Duration,
    behind: &Behind,
) -> sqlx::Result<bool> {
    let (is_there, bytes, seconds): (bool, i64, f64) = sqlx::query_as(
        "select count(*) > 0, coalesce(sum(octet_length(delta)), 0)::bigint,
             coalesce(extract(epoch from now() - min(created_at)), 0)::float8
         from (
             select created_at, delta from rollup_deltas
             where not is_stuck and version <= $1 and id <= $2 order by id limit $3
         ) waiting",
    )
    .bind(DELTA_VERSION)
    .bind(newest)
    .bind(FOLDED_MAX)
    .fetch_one(connection)
    .await?;
    behind.set(bytes >= BEHIND_BYTES);
    Ok(is_there && has_waited(bytes, seconds, waited))
}

/// Whether so many bytes have waited for long enough after so many seconds.
fn has_waited(bytes: i64, seconds: f64, waited: Duration) -> bool {
    let wait = if bytes < MANY_BYTES { waited } else { waited * MANY_WAIT };
    bytes >= FOLDED_BYTES || seconds >= wait.as_secs_f64()
}

/// As [`catch_up`], for whoever is about to read: reading goes on where adding does not, and tells then what has been
/// added so far. So it is for one who may not write, while somebody is being forgotten or the rollups are
/// repaired, on a disk that is full, and where there is more than can be added meanwhile. Workers warn of what lasts.
pub(crate) async fn catch_up_to_read(connection: &mut PgConnection) -> sqlx::Result<()> {
    match catch_up_within(connection, Some(Instant::now() + READERS_PATIENCE)).await {
        Err(error @ sqlx::Error::Database(_)) => {
            debug!("reading without what waits: {}", classify::failure(error));
            Ok(())
        }
        outcome => outcome,
    }
}

/// Keeps everybody else from folding until the transaction ends. Sets no moment.
pub(crate) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table rollup_folding in exclusive mode").execute(connection).await?;
    Ok(())
}

/// Folds all there is, in a transaction that holds the lock and needs all of it.
pub(crate) async fn fold_all(connection: &mut PgConnection) -> sqlx::Result<()> {
    refuse_newer(connection).await?;
    let Some(newest) = newest(connection).await? else { return Ok(()) };
    while fold_some(connection, newest).await? {}
    Ok(())
}

/// Fails where anything waits, to this transaction.
pub(crate) async fn refuse_waiting(connection: &mut PgConnection) -> sqlx::Result<()> {
    refuse_newer(connection).await?;
    if newest(connection).await?.is_some() { Err(classify::Behind.into()) } else { Ok(()) }
}

/// Fails where something waits that only a newer version can add: it would come on top of what is counted,
/// or bring back who is forgotten.
async fn refuse_newer(connection: &mut PgConnection) -> sqlx::Result<()> {
    let sql = "select exists (select from rollup_deltas where version > $1)";
    let is_there = sqlx::query_scalar(sql).bind(DELTA_VERSION).fetch_one(connection).await?;
    if is_there { Err(classify::Behind.into()) } else { Ok(()) }
}

/// Whether anything of this profile waits, to this transaction.
pub(crate) async fn are_waiting_of(
    connection: &mut PgConnection,
    profile: &ProfileId,
) -> sqlx::Result<bool> {
    refuse_newer(connection).await?;
    sqlx::query_scalar(
        "select exists (
             select from rollup_deltas, unnest($1::bytea[]) trace
             where not is_stuck and position(trace in delta) > 0
         )",
    )
    .bind(traces_in_delta(profile).to_vec())
    .fetch_one(connection)
    .await
}

/// Drops what could not be added: its events are counted otherwise, or it may tell of somebody who is forgotten.
pub(crate) async fn drop_stuck(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("delete from rollup_deltas where is_stuck").execute(connection).await?;
    Ok(())
}

async fn newest(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "select id from rollup_deltas where not is_stuck and version <= $1 order by id desc limit 1",
    )
    .bind(DELTA_VERSION)
    .fetch_optional(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_waits_longer_until_it_is_as_much_as_is_folded_at_once() {
        let second = Duration::from_secs(1);
        for (bytes, seconds, is_due) in [
            (0, 0.9, false),
            (MANY_BYTES - 1, 1.0, true),
            (MANY_BYTES, 4.9, false),
            (MANY_BYTES, 5.0, true),
            (FOLDED_BYTES - 1, 4.9, false),
            (FOLDED_BYTES, 0.0, true),
        ] {
            assert_eq!(has_waited(bytes, seconds, second), is_due, "{bytes} after {seconds} s");
            assert!(has_waited(bytes, 0.0, Duration::ZERO));
        }
    }
}
