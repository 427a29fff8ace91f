//! Folding: deltas that wait are added up and raise the rollups, each row once for all of them. Whoever calls holds the
//! lock of `rollup_folding`.

use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::task::yield_now;
use tracing::error;
use treehook_event::{DELTA_VERSION, Rollup, Timestamp};

use crate::columns::timestamp;
use crate::planner::row_by_row;
use crate::{classify, counts, merge};

/// Deltas that are folded at once, at most, and their bytes about, those of some 360,000 events. They are read one by one:
/// what is in memory meanwhile is their sum.
pub(crate) const FOLDED_MAX: i64 = 1000;
pub(crate) const FOLDED_BYTES: i64 = 16 << 20;
/// Profiles and links in that sum, about, from which on no more is added to it: some 30 MB where each has little, which is
/// seven times as much as their deltas.
const NAMES_MAX: usize = 70_000;
/// Bytes of deltas after which they are counted.
const LOOK_BYTES: usize = 512 << 10;

/// Folds some of what waits, up to `newest`. Answers whether there may be more.
pub(crate) async fn fold_some(connection: &mut PgConnection, newest: i64) -> sqlx::Result<bool> {
    let waiting: Vec<(i64, i64)> = sqlx::query_as(
        "select id, octet_length(delta)::bigint from rollup_deltas
         where not is_stuck and version <= $1 and id <= $2 order by id limit $3",
    )
    .bind(DELTA_VERSION)
    .bind(newest)
    .bind(FOLDED_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let ids = fitting(&waiting);
    if ids.is_empty() {
        return Ok(false);
    }
    let mut attempt = connection.begin().await?;
    let folded = match fold(&mut attempt, &ids).await {
        Ok(folded) => {
            attempt.commit().await?;
            folded
        }
        Err(error) if is_ones_own_fault(&error) => {
            attempt.rollback().await?;
            fold_each(connection, &ids).await?;
            ids.len()
        }
        Err(error) => return Err(error),
    };
    Ok(folded < ids.len() || ids.last() != Some(&newest))
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

/// Folds these, or as many of them as name no more profiles and links than a sum may. Answers how many.
async fn fold(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<usize> {
    let sum = add_up(connection, ids).await?;
    sqlx::query("delete from rollup_deltas where id = any($1)")
        .bind(&sum.ids)
        .execute(&mut *connection)
        .await?;
    let joins = row_by_row(connection).await?;
    counts::add(connection, &sum.rollup, sum.now).await?;
    joins.allow(connection).await?;
    merge::add(connection, &sum.rollup).await?;
    Ok(sum.ids.len())
}

/// What some deltas come to.
#[derive(Default)]
struct Sum {
    /// Which those are.
    ids: Vec<i64>,
    rollup: Rollup,
    /// When the last of them was recorded.
    now: Timestamp,
}

async fn add_up(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Sum> {
    let (mut sum, mut unseen, mut is_full) = (Sum::default(), 0, false);
    let mut rows = sqlx::query_as::<_, (i64, i16, OffsetDateTime, Vec<u8>)>(
        "select id, version, recorded_at, delta from rollup_deltas where id = any($1)",
    )
    .bind(ids)
    .fetch(connection);
    while let Some((id, version, at, delta)) = rows.try_next().await? {
        // Read to its end all the same: whoever has the connection next would be given the rest.
        if is_full {
            continue;
        }
        sum.rollup = sum
            .rollup
            .with_delta(version, &delta)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        sum.now = sum.now.max(timestamp(at));
        sum.ids.push(id);
        unseen += delta.len();
        if unseen >= LOOK_BYTES {
            unseen = 0;
            is_full = sum.rollup.names() >= NAMES_MAX;
        }
        // Batches are recorded in the same task, and have rows to send.
        yield_now().await;
    }
    Ok(sum)
}

/// One by one, so that what cannot be added keeps nothing else from being counted.
async fn fold_each(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    for id in ids {
        let mut attempt = connection.begin().await?;
        match fold(&mut attempt, std::slice::from_ref(id)).await {
            Ok(_) => attempt.commit().await?,
            Err(error) if is_ones_own_fault(&error) => {
                attempt.rollback().await?;
                // Milestones are told by their events alone, and so are titles once the archive is cut short.
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
