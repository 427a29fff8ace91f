//! A profile leaves the archive, the rollups, the projections and the dead letters.

use sqlx::{AssertSqlSafe, SqliteConnection, query};
use treehook_event::{Erased, Failure, ProfileId};

use super::step_end;
use crate::classify::failure;
use crate::database::Database;

/// A table with rows of a profile, and the column by which they are deleted in steps.
struct Owned {
    table: &'static str,
    step: &'static str,
    is_sketch: bool,
}

const OWNED: [Owned; 10] = [
    Owned { table: "link_hours", step: "hour", is_sketch: false },
    Owned { table: "link_days", step: "day", is_sketch: false },
    Owned { table: "profile_hours", step: "hour", is_sketch: false },
    Owned { table: "profile_minutes", step: "minute", is_sketch: false },
    Owned { table: "audience", step: "day", is_sketch: false },
    Owned { table: "profile_visitors", step: "day", is_sketch: true },
    Owned { table: "link_visitors", step: "day", is_sketch: true },
    Owned { table: "milestones", step: "key", is_sketch: false },
    Owned { table: "links", step: "link_id", is_sketch: false },
    Owned { table: "profiles", step: "profile_id", is_sketch: false },
];

/// Hours, days or links of a profile that are deleted in one transaction.
const VALUES_PER_STEP: i64 = 500;

/// Leaves of an event what deduplication needs: a retried delivery must not bring the profile back.
/// An event of a type that nobody knows has no column for its profile, but its payload tells.
const BLANK: &str = "update events set identity = '', profile_id = null, link_id = null, \
     kind = null, country = null, referrer = null, device = null, visitor = null, detail = null, \
     payload = '{}' where id > ?1 and id <= ?2 and (profile_id = ?3 \
     or (profile_id is null and payload <> '{}' and exists (select 1 \
     from json_tree(case when json_valid(payload) then payload end) \
     where key in ('profile_id', 'workspaceId', 'projectId') and cast(atom as text) = ?3)))";

/// By what the event says, by what the platform said, and by what could not be decoded and is
/// quoted.
const UNBURY: &str = "with letters (key, event) as ( \
     select key, case when json_valid(event) then event end from dead_letters), \
     told (key, payload) as ( \
     select key, case when json_valid(event ->> '$.data.payload') \
     then event ->> '$.data.payload' end from letters) \
     delete from dead_letters where key in ( \
     select letters.key from letters, json_tree(letters.event, '$.data.event') as body \
     where body.key = 'profile_id' and body.atom = ?1 \
     union all select told.key from told, json_tree(told.payload) as field \
     where field.key in ('profile_id', 'workspaceId', 'projectId') \
     and cast(field.atom as text) = ?1 \
     union all select key from dead_letters where profile_id = ?1)";

/// Forgets a profile in steps. What is recorded of it meanwhile is forgotten with the last one.
pub(super) async fn erase(database: &Database, profile: &ProfileId) -> Result<Erased, Failure> {
    let mut erased = Erased::default();
    let mut after = 0;
    while let Some(end) = step_end(database, after).await? {
        let mut transaction = database.write().await?;
        erased.events += blank(&mut transaction, profile, after, end).await?;
        transaction.commit().await.map_err(failure)?;
        after = end;
    }
    for owned in &OWNED {
        let deleted = delete_in_steps(database, profile, owned).await?;
        erased.sketches += if owned.is_sketch { deleted } else { 0 };
    }
    let mut transaction = database.write().await?;
    erased.events += blank(&mut transaction, profile, after, i64::MAX).await?;
    for owned in &OWNED {
        let deleted = delete(&mut transaction, profile, owned, -1).await?;
        erased.sketches += if owned.is_sketch { deleted } else { 0 };
    }
    let removed = query(UNBURY).bind(profile.as_str()).execute(&mut *transaction);
    erased.dead_letters = removed.await.map_err(failure)?.rows_affected();
    transaction.commit().await.map_err(failure)?;
    Ok(erased)
}

/// Blanks the profile's events in `after+1..=end`; says how many they were.
async fn blank(
    connection: &mut SqliteConnection,
    profile: &ProfileId,
    after: i64,
    end: i64,
) -> Result<u64, Failure> {
    let blanked = query(BLANK).bind(after).bind(end).bind(profile.as_str()).execute(connection);
    Ok(blanked.await.map_err(failure)?.rows_affected())
}

async fn delete_in_steps(
    database: &Database,
    profile: &ProfileId,
    owned: &Owned,
) -> Result<u64, Failure> {
    let mut deleted = 0;
    loop {
        let mut transaction = database.write().await?;
        let step = delete(&mut transaction, profile, owned, VALUES_PER_STEP).await?;
        transaction.commit().await.map_err(failure)?;
        if step == 0 {
            return Ok(deleted);
        }
        deleted += step;
    }
}

/// Deletes the rows of up to `values` hours, days or links; all of them when it is negative.
async fn delete(
    connection: &mut SqliteConnection,
    profile: &ProfileId,
    owned: &Owned,
    values: i64,
) -> Result<u64, Failure> {
    let Owned { table, step, .. } = owned;
    let sql = format!(
        "delete from {table} where profile_id = ?1 and {step} in \
         (select distinct {step} from {table} where profile_id = ?1 limit ?2)"
    );
    let deleted = query(AssertSqlSafe(sql)).bind(profile.as_str()).bind(values).execute(connection);
    Ok(deleted.await.map_err(failure)?.rows_affected())
}
