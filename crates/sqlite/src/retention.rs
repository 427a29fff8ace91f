//! Upkeep: forgetting what is past retention, and giving its room back.

use sqlx::{query, query_scalar};
use treehook_event::{Day, Failure, Maintained, Timestamp};

use crate::classify::failure;
use crate::database::Database;
use crate::{dead, ledger, minutes};

/// Rows deleted in one transaction: some ten milliseconds in which nobody else can record.
const ROWS_PER_STEP: i64 = 2000;
/// Pages given back in one transaction: 1 MiB.
const PAGES_PER_STEP: i64 = 256;
/// Such steps in one round: the rest can wait for the next one.
const STEPS_MAX: usize = 256;

/// Deletes the days before `retention_days` ago from the archive; their rollups stay.
pub(crate) async fn maintain(
    database: &Database,
    now: Timestamp,
    retention_days: u32,
) -> Result<Maintained, Failure> {
    let kept_days = i32::try_from(retention_days).unwrap_or(i32::MAX);
    let keep_from = now.day().plus(-kept_days);
    let mut days_dropped = 0;
    while let Some(day) = oldest_day(database).await?.filter(|day| *day < keep_from) {
        drop_day(database, day).await?;
        days_dropped += 1;
    }
    minutes::forget(database, now).await?;
    dead::forget_redriven(database, keep_from.start()).await?;
    ledger::retire(database, now).await?;
    give_back(database).await?;
    query("pragma optimize").execute(&mut *database.writer().await?).await.map_err(failure)?;
    // Until then what was forgotten still stands in the file, and only the log says that it is gone.
    database.move_log().await?;
    Ok(Maintained { days_dropped })
}

async fn oldest_day(database: &Database) -> Result<Option<Day>, Failure> {
    let day: Option<i32> = query_scalar("select min(day) from events")
        .fetch_one(database.readers())
        .await
        .map_err(failure)?;
    Ok(day.map(Day))
}

async fn drop_day(database: &Database, day: Day) -> Result<(), Failure> {
    // First, so that `verify` never takes a day that is half gone for one that was counted wrong.
    query(
        "insert into meta (name, value) values ('archive_from_day', ?1) \
         on conflict (name) do update set value = max(value, excluded.value)",
    )
    .bind(day.plus(1).0)
    .execute(&mut *database.writer().await?)
    .await
    .map_err(failure)?;
    loop {
        let deleted =
            query("delete from events where id in (select id from events where day = ?1 limit ?2)")
                .bind(day.0)
                .bind(ROWS_PER_STEP)
                .execute(&mut *database.writer().await?)
                .await
                .map_err(failure)?;
        if deleted.rows_affected() == 0 {
            return Ok(());
        }
    }
}

/// In steady state new days reuse the pages of old ones. Only when much more is free than that, as
/// after retention was shortened, does the file shrink.
async fn give_back(database: &Database) -> Result<(), Failure> {
    for _ in 0..STEPS_MAX {
        let is_roomy: bool = query_scalar(
            "select freelist_count * 4 > page_count and freelist_count > ?1 \
             from pragma_freelist_count, pragma_page_count",
        )
        .bind(PAGES_PER_STEP)
        .fetch_one(&mut *database.writer().await?)
        .await
        .map_err(failure)?;
        if !is_roomy {
            break;
        }
        query("pragma incremental_vacuum(256)")
            .execute(&mut *database.writer().await?)
            .await
            .map_err(failure)?;
    }
    Ok(())
}
