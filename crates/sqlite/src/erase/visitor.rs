//! A visitor leaves the archive, the sketches and the dead letters.

use std::collections::BTreeSet;

use sqlx::{SqliteConnection, query, query_scalar};
use treehook_event::{Day, Erased, Failure, LinkId, ProfileId, VisitorId};

use super::step_end;
use crate::classify::failure;
use crate::database::Database;
use crate::recount::rebuild;
use crate::rows::{profile_id, read};
use crate::verify::archive_from_day;
use crate::visitors::{LINK_VISITORS, PROFILE_VISITORS};

/// What a visitor has touched on one day.
#[derive(Debug, Default)]
struct Touched {
    profiles: BTreeSet<(ProfileId, Day)>,
    links: BTreeSet<(ProfileId, LinkId, Day)>,
}

/// Forgets a visitor day by day: a day's events and sketches change together, so that `verify` has
/// nothing to say at any time.
pub(super) async fn erase(database: &Database, visitor: VisitorId) -> Result<Erased, Failure> {
    let mut erased = Erased::default();
    let mut profiles = BTreeSet::new();
    for day in days(database, visitor).await? {
        let mut transaction = database.write().await?;
        let touched = touched(&mut transaction, visitor, day).await?;
        erased.events += blank(&mut transaction, visitor, day).await?;
        if archive_from_day(&mut transaction).await?.is_none_or(|from| day >= from) {
            rebuild(&mut transaction, &PROFILE_VISITORS, day, &touched.profiles).await?;
            rebuild(&mut transaction, &LINK_VISITORS, day, &touched.links).await?;
            erased.sketches += (touched.profiles.len() + touched.links.len()) as u64;
        }
        transaction.commit().await.map_err(failure)?;
        profiles.extend(touched.profiles.into_iter().map(|(profile, _)| profile));
    }
    erased.sketches_kept = sketches_kept(database, &profiles).await?;
    erased.dead_letters = bury_no_more(database, visitor).await?;
    Ok(erased)
}

/// The days on which the archive knows the visitor. There is no index over visitors: it would cost
/// every event more than it saves the few who are forgotten.
async fn days(database: &Database, visitor: VisitorId) -> Result<BTreeSet<Day>, Failure> {
    let mut days = BTreeSet::new();
    let mut after = 0;
    while let Some(end) = step_end(database, after).await? {
        let found: Vec<i32> = query_scalar(
            "select distinct day from events where id > ?1 and id <= ?2 and visitor = ?3",
        )
        .bind(after)
        .bind(end)
        .bind(visitor.0.cast_signed())
        .fetch_all(database.readers())
        .await
        .map_err(failure)?;
        days.extend(found.into_iter().map(Day));
        after = end;
    }
    Ok(days)
}

async fn touched(
    connection: &mut SqliteConnection,
    visitor: VisitorId,
    day: Day,
) -> Result<Touched, Failure> {
    let rows = query(
        "select distinct profile_id, link_id from events \
         where day = ?1 and visitor = ?2 and profile_id is not null",
    )
    .bind(day.0)
    .bind(visitor.0.cast_signed())
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let mut touched = Touched::default();
    for row in &rows {
        let profile = profile_id(row)?;
        // A view has no link.
        if let Some(link) = read::<Option<&str>>(row, "link_id")? {
            touched.links.insert((profile.clone(), LinkId::trusted(link), day));
        }
        touched.profiles.insert((profile, day));
    }
    Ok(touched)
}

/// Takes the visitor out of a day's events; says how many they were.
async fn blank(
    connection: &mut SqliteConnection,
    visitor: VisitorId,
    day: Day,
) -> Result<u64, Failure> {
    // A body that is not JSON cannot be read by anybody, nor be shown to be without the visitor.
    let blanked = query(
        "update events set visitor = null, \
         detail = case when json_valid(detail) then json_remove(detail, '$.visit.visitor') end \
         where day = ?1 and visitor = ?2",
    )
    .bind(day.0)
    .bind(visitor.0.cast_signed())
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(blanked.rows_affected())
}

/// Sketches of these profiles and their links from before the archive's start.
async fn sketches_kept(
    database: &Database,
    profiles: &BTreeSet<ProfileId>,
) -> Result<u64, Failure> {
    let profiles: serde_json::Value = profiles.iter().map(ProfileId::as_str).collect();
    let kept: i64 = query_scalar(
        "with mine (profile_id) as (select value from json_each(?1)), \
         start (day) as (select value from meta where name = 'archive_from_day') \
         select (select count(*) from profile_visitors \
         where profile_id in mine and day < (select day from start)) + \
         (select count(*) from link_visitors \
         where profile_id in mine and day < (select day from start))",
    )
    .bind(profiles.to_string())
    .fetch_one(database.readers())
    .await
    .map_err(failure)?;
    Ok(kept.cast_unsigned())
}

/// Removes the dead letters that name the visitor, also where a batch that could not be decoded is
/// quoted in one; says how many.
async fn bury_no_more(database: &Database, visitor: VisitorId) -> Result<u64, Failure> {
    let plain = format!("\"visitor\":\"{:016x}\"", visitor.0);
    let quoted = plain.replace('"', "\\\"");
    let removed =
        query("delete from dead_letters where instr(event, ?1) > 0 or instr(event, ?2) > 0")
            .bind(plain)
            .bind(quoted)
            .execute(&mut *database.writer().await?)
            .await
            .map_err(failure)?;
    Ok(removed.rows_affected())
}
