//! Upkeep: days made ahead and dropped when they are past, tallies folded, and what they add up to.

use std::collections::BTreeSet;

use sqlx::{Connection as _, FromRow, PgConnection};
use time::OffsetDateTime;
use treehook_event::{Maintained, Tally, Timestamp};

use crate::columns::{count, moment, timestamp};
use crate::partitions::{self, Partitions};
use crate::{counts, deadletters, ledger};

/// Days made ahead: upkeep may fail for a week before a worker has to make one on demand.
const DAYS_AHEAD: i32 = 7;

/// A process whose tally was not touched for this long is gone, or will begin a new row.
const TALLY_IDLE_MS: i64 = 24 * 60 * 60 * 1000;

/// The row that gathers what gone processes have done.
const NOBODY: &str = "00000000000000000000000000000000";

/// One round of upkeep. What happened on `today - retention_days` is still kept.
pub(crate) async fn maintain(
    connection: &mut PgConnection,
    partitions: &Partitions,
    now: Timestamp,
    retention_days: u32,
) -> sqlx::Result<Maintained> {
    let today = now.day();
    // Looked at anew each time, so that a day that somebody dropped by hand is made again.
    partitions.forget();
    let ahead: BTreeSet<_> = (0..=DAYS_AHEAD).map(|days| today.plus(days)).collect();
    partitions.ensure(connection, &ahead).await?;
    let kept = i32::try_from(retention_days).unwrap_or(i32::MAX);
    let days_dropped = partitions::drop_before(connection, today.plus(-kept)).await?;
    if days_dropped > 0 {
        partitions.forget();
    }
    deadletters::forget_redriven(connection, today.plus(-kept).start()).await?;
    counts::forget_minutes(connection, now).await?;
    fold_tallies(connection, now).await?;
    ledger::retire(connection, now).await?;
    Ok(Maintained { days_dropped })
}

/// Folds the rows of processes that are gone into one. A process that comes back begins a new row.
async fn fold_tallies(connection: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    // One at a time: two that delete the same rows in other orders would wait for each other.
    partitions::lock(&mut transaction).await?;
    sqlx::query(
        "with gone as (
             delete from tallies where instance <> $1::uuid and updated_at < $2
             returning applied, duplicates, newest_event
         )
         insert into tallies as t (instance, applied, duplicates, newest_event, updated_at)
         select $1::uuid, sum(applied)::bigint, sum(duplicates)::bigint, max(newest_event), $3
         from gone having count(*) > 0
         on conflict (instance) do update set
             applied = t.applied + excluded.applied,
             duplicates = t.duplicates + excluded.duplicates,
             newest_event = greatest(t.newest_event, excluded.newest_event),
             updated_at = excluded.updated_at",
    )
    .bind(NOBODY)
    .bind(moment(now.plus_millis(-TALLY_IDLE_MS)))
    .bind(moment(now))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

#[derive(FromRow)]
struct TallyColumns {
    applied: i64,
    duplicates: i64,
    newest_event: Option<OffsetDateTime>,
    dead: i64,
}

/// What all processes have done.
pub(crate) async fn tally(connection: &mut PgConnection) -> sqlx::Result<Tally> {
    let row: TallyColumns = sqlx::query_as(
        "select coalesce(sum(applied), 0)::bigint as applied,
             coalesce(sum(duplicates), 0)::bigint as duplicates,
             max(newest_event) as newest_event,
             (select count(*) from dead_letters) as dead
         from tallies",
    )
    .fetch_one(connection)
    .await?;
    Ok(Tally {
        applied: count(row.applied),
        duplicates: count(row.duplicates),
        dead: count(row.dead),
        newest_event: row.newest_event.map(timestamp),
    })
}
