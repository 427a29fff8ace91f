//! What batches add to the rollups, kept until it is folded in: recording waits for no row that others write, and
//! a hot row is written once for many batches.
//!
//! Locks are taken in one order: the archive, then `rollup_folding`, then the rollups.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tracing::error;
use treehook_event::{DELTA_VERSION, Rollup, Timestamp};

use crate::columns::{moment, timestamp};
use crate::{classify, counts, merge};

/// Deltas that are folded at once, at most, and their bytes about: what is in memory meanwhile is some four times
/// as much. More would save little: some 25,000 events bring most of their keys many times.
const FOLDED_MAX: i64 = 500;
const FOLDED_BYTES: i64 = 2 << 20;

/// How often a fold is begun anew because a row was dropped just then.
const ATTEMPTS_MAX: u32 = 3;

/// What folding may take, all in all, before whoever waits for it gives up.
pub(crate) const FOLD_MAX: Duration = Duration::from_mins(2);

/// Keeps what a batch adds, in the batch's transaction.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    rollup: &Rollup,
    now: Timestamp,
) -> sqlx::Result<()> {
    if rollup.is_empty() {
        return Ok(());
    }
    sqlx::query("insert into rollup_deltas (version, recorded_at, delta) values ($1, $2, $3)")
        .bind(DELTA_VERSION)
        .bind(moment(now))
        .bind(rollup.to_delta())
        .execute(connection)
        .await?;
    Ok(())
}

/// Folds all that was recorded before this was called.
pub(crate) async fn catch_up(connection: &mut PgConnection) -> sqlx::Result<()> {
    let Some(newest) = newest(connection).await? else { return Ok(()) };
    let mut attempt = 1;
    loop {
        let mut transaction = connection.begin().await?;
        lock(&mut transaction).await?;
        let outcome = match fold_some(&mut transaction, Some(newest)).await {
            Ok(more) => transaction.commit().await.map(|()| more),
            Err(error) => transaction.rollback().await.and(Err(error)),
        };
        match outcome {
            Ok(true) => attempt = 1,
            Ok(false) => return Ok(()),
            // A row that was there for the insert and gone for the merge: somebody was forgotten.
            Err(sqlx::Error::RowNotFound) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// As [`catch_up`], if anything has waited for so long and nobody else is folding. So it is folded as often with
/// many workers as with one.
pub(crate) async fn catch_up_if_due(
    connection: &mut PgConnection,
    waited: Duration,
) -> sqlx::Result<()> {
    let is_due: bool = sqlx::query_scalar(
        "select exists (
             select from rollup_deltas
             where not is_stuck and version <= $1 and created_at <= now() - make_interval(secs => $2)
         )",
    )
    .bind(DELTA_VERSION)
    .bind(waited.as_secs_f64())
    .fetch_one(&mut *connection)
    .await?;
    if !is_due {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    let locked = sqlx::query("lock table rollup_folding in exclusive mode nowait");
    match locked.execute(&mut *transaction).await {
        Ok(_) => transaction.commit().await?,
        Err(error) if classify::is_lock_timeout(&error) => return transaction.rollback().await,
        Err(error) => return Err(error),
    }
    catch_up(connection).await
}

/// As [`catch_up`], for whoever is about to read. One who may not write reads what has been folded by others.
pub(crate) async fn catch_up_to_read(connection: &mut PgConnection) -> sqlx::Result<()> {
    match catch_up(connection).await {
        Err(error) if classify::may_not_write(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Keeps everybody else from folding until the transaction ends. Sets no moment.
pub(crate) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table rollup_folding in exclusive mode").execute(connection).await?;
    Ok(())
}

/// Folds all there is to this transaction, which holds the lock.
pub(crate) async fn fold_all(connection: &mut PgConnection) -> sqlx::Result<()> {
    while fold_some(connection, None).await? {}
    Ok(())
}

/// Whether anything waits, to this transaction.
pub(crate) async fn are_waiting(connection: &mut PgConnection) -> sqlx::Result<bool> {
    Ok(newest(connection).await?.is_some())
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

/// Folds some of what waits, up to `newest`. Answers whether there may be more.
async fn fold_some(connection: &mut PgConnection, newest: Option<i64>) -> sqlx::Result<bool> {
    let waiting: Vec<(i64, i64)> = sqlx::query_as(
        "select id, octet_length(delta)::bigint from rollup_deltas
         where not is_stuck and version <= $1 and id <= $2 order by id limit $3",
    )
    .bind(DELTA_VERSION)
    .bind(newest.unwrap_or(i64::MAX))
    .bind(FOLDED_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let ids = fitting(&waiting);
    if ids.is_empty() {
        return Ok(false);
    }
    let is_last =
        ids.len() == waiting.len() && waiting.len() < usize::try_from(FOLDED_MAX).unwrap_or(0);
    let mut attempt = connection.begin().await?;
    match fold(&mut attempt, &ids).await {
        Ok(()) => attempt.commit().await?,
        Err(error) if is_ones_own_fault(&error) => {
            attempt.rollback().await?;
            fold_each(connection, &ids).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(!is_last)
}

/// As many as are folded at once: at least one.
fn fitting(waiting: &[(i64, i64)]) -> Vec<i64> {
    let mut bytes = 0_i64;
    let fits = waiting.iter().enumerate().take_while(|(position, (_, length))| {
        bytes = bytes.saturating_add(*length);
        *position == 0 || bytes <= FOLDED_BYTES
    });
    fits.map(|(_, (id, _))| *id).collect()
}

/// Folds these.
async fn fold(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    let rows: Vec<(OffsetDateTime, Vec<u8>)> =
        sqlx::query_as("delete from rollup_deltas where id = any($1) returning recorded_at, delta")
            .bind(ids)
            .fetch_all(&mut *connection)
            .await?;
    let now = rows.iter().map(|(at, _)| timestamp(*at)).max().unwrap_or_default();
    let mut rollup = Rollup::default();
    for (_, delta) in rows {
        let delta =
            Rollup::from_delta(&delta).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        rollup.merge(delta);
    }
    counts::add(connection, &rollup, now).await?;
    merge::add(connection, rollup).await
}

/// One by one, so that what cannot be added keeps nothing else from being counted.
async fn fold_each(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    for id in ids {
        let mut attempt = connection.begin().await?;
        match fold(&mut attempt, std::slice::from_ref(id)).await {
            Ok(()) => attempt.commit().await?,
            Err(error) if is_ones_own_fault(&error) => {
                attempt.rollback().await?;
                let remedy = "the archive has its events: run `treehook verify --repair`";
                error!(delta = id, "what a batch adds to the rollups cannot be added; {remedy}");
                sqlx::query("update rollup_deltas set is_stuck = true where id = $1")
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it would fail every time.
fn is_ones_own_fault(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_)) || classify::is_poison(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_folded_as_fit_and_the_first_one_always() {
        let max = FOLDED_BYTES;
        for (waiting, folded) in [
            (vec![], vec![]),
            (vec![(7, 20 * max), (8, 1)], vec![7]),
            (vec![(7, max / 2), (8, max / 2), (9, 1)], vec![7, 8]),
            (vec![(7, 1), (9, 1)], vec![7, 9]),
        ] {
            assert_eq!(fitting(&waiting), folded);
        }
    }
}
