//! Dead letters, where people can list, redrive and discard them.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection, query};
use treehook_event::{
    DeadFilter, DeadLetter, EventType, Failure, Identity, Key, ProfileId, SourceName, Timestamp,
    settled_dead,
};

use crate::bulk;
use crate::classify::{damaged, failure};
use crate::database::Database;
use crate::ledger;
use crate::rows::{read, timestamp};

/// Keeps dead letters; the same event again raises its attempts, and its last reason stands.
pub(crate) async fn bury(database: &Database, letters: &[DeadLetter]) -> Result<(), Failure> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut transaction = database.write().await?;
    bulk::execute(
        &mut transaction,
        "insert into dead_letters (key, source, identity, type, profile_id, reason, occurred_at, \
         first_at, last_at, attempts, event)",
        "on conflict (key) do update set attempts = attempts + 1, reason = excluded.reason, \
         profile_id = excluded.profile_id, last_at = max(last_at, excluded.last_at), \
         event = excluded.event",
        letters,
        |values, letter| {
            values
                .push_bind(letter.key().0.to_vec())
                .push_bind(letter.source.as_str())
                .push_bind(letter.identity.as_str())
                .push_bind(letter.event_type.as_str())
                .push_bind(letter.profile_id.as_ref().map(ProfileId::as_str))
                .push_bind(letter.reason.as_str())
                .push_bind(letter.occurred_at.as_millis())
                .push_bind(letter.first_at.as_millis())
                .push_bind(letter.last_at.as_millis())
                .push_bind(i64::from(letter.attempts))
                .push_bind(letter.event.as_str());
        },
    )
    .await?;
    continue_history(&mut transaction, letters).await?;
    ledger::settle(&mut transaction, &settled_dead(letters)).await?;
    transaction.commit().await.map_err(failure)
}

/// A letter that comes back from a redrive has the attempts and the first time that it had.
async fn continue_history(
    connection: &mut SqliteConnection,
    letters: &[DeadLetter],
) -> Result<(), Failure> {
    let keys: serde_json::Value = letters.iter().map(|letter| digits(&letter.key())).collect();
    let keys = keys.to_string();
    for sql in [
        "update dead_letters as letter set attempts = letter.attempts + past.attempts, \
         first_at = min(letter.first_at, past.first_at) from redriven_letters as past \
         where past.key = letter.key and letter.key in (select unhex(value) from json_each(?1))",
        "delete from redriven_letters where key in (select unhex(value) from json_each(?1))",
    ] {
        query(sql).bind(&keys).execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(())
}

/// Those that the filter means, in order of key.
pub(crate) async fn list(
    database: &Database,
    filter: &DeadFilter,
) -> Result<Vec<DeadLetter>, Failure> {
    let mut statement = QueryBuilder::new(
        "select source, identity, type, profile_id, reason, occurred_at, first_at, last_at, \
         attempts, event from dead_letters where true",
    );
    if let Some(reason) = &filter.reason {
        statement.push(" and (reason = ").push_bind(reason);
        // What stands before the colon; a reason without one is compared whole above.
        statement.push(" or substr(reason, 1, instr(reason, ':') - 1) = ").push_bind(reason);
        statement.push(" and instr(reason, ':') > 0)");
    }
    if let Some(source) = &filter.source {
        statement.push(" and source = ").push_bind(source);
    }
    if let Some(event_type) = &filter.event_type {
        statement.push(" and type = ").push_bind(event_type);
    }
    if let Some(profile) = &filter.profile {
        statement.push(" and profile_id = ").push_bind(profile);
    }
    if let Some(last_before) = filter.last_before {
        statement.push(" and last_at <= ").push_bind(last_before.as_millis());
    }
    if let Some(last_after) = filter.last_after {
        statement.push(" and last_at >= ").push_bind(last_after.as_millis());
    }
    if let Some(after) = filter.after {
        statement.push(" and key > ").push_bind(after.0.to_vec());
    }
    if !filter.ids.is_empty() {
        statement.push(" and key in (select unhex(value) from json_each(");
        let digits: serde_json::Value = filter.ids.iter().map(digits).collect();
        statement.push_bind(digits.to_string()).push("))");
    }
    statement.push(" order by key limit ").push_bind(i64::from(filter.limit));
    let rows = statement.build().fetch_all(database.readers()).await.map_err(failure)?;
    rows.iter().map(letter).collect()
}

/// Those that were not buried again since they were read.
const DELETE: &str = "delete from dead_letters where (key, attempts) in \
     (select unhex(value ->> 0), value ->> 1 from json_each(?1))";
/// What they continue from when they come back.
const REMEMBER: &str = "insert into redriven_letters (key, first_at, attempts, redriven_at) \
     select key, first_at, attempts, ?2 from dead_letters where (key, attempts) in \
     (select unhex(value ->> 0), value ->> 1 from json_each(?1)) \
     on conflict (key) do update set first_at = min(first_at, excluded.first_at), \
     attempts = attempts + excluded.attempts, redriven_at = excluded.redriven_at";

fn pairs(letters: &[(Key, u32)]) -> String {
    let pairs = letters.iter().map(|(key, attempts)| serde_json::json!([digits(key), attempts]));
    pairs.collect::<serde_json::Value>().to_string()
}

/// Removes those that were not buried again since they were read; says how many.
pub(crate) async fn remove(database: &Database, letters: &[(Key, u32)]) -> Result<u64, Failure> {
    let removed = query(DELETE).bind(pairs(letters)).execute(&mut *database.writer().await?).await;
    Ok(removed.map_err(failure)?.rows_affected())
}

/// As [`remove`], and remembers what they continue from.
pub(crate) async fn release(
    database: &Database,
    letters: &[(Key, u32)],
    now: Timestamp,
) -> Result<u64, Failure> {
    let pairs = pairs(letters);
    let mut transaction = database.write().await?;
    let remembered = query(REMEMBER).bind(&pairs).bind(now.as_millis());
    remembered.execute(&mut *transaction).await.map_err(failure)?;
    let removed = query(DELETE).bind(&pairs).execute(&mut *transaction).await;
    let removed = removed.map_err(failure)?.rows_affected();
    transaction.commit().await.map_err(failure)?;
    Ok(removed)
}

/// Forgets what was redriven before this and never came back.
pub(crate) async fn forget_redriven(database: &Database, before: Timestamp) -> Result<(), Failure> {
    query("delete from redriven_letters where redriven_at < ?1")
        .bind(before.as_millis())
        .execute(&mut *database.writer().await?)
        .await
        .map_err(failure)?;
    Ok(())
}

/// Keys go to SQLite in hexadecimal: as one parameter of JSON, whatever their number.
fn digits(key: &Key) -> String {
    hex::encode(key.0)
}

fn letter(row: &SqliteRow) -> Result<DeadLetter, Failure> {
    Ok(DeadLetter {
        source: SourceName::trusted(read(row, "source")?),
        identity: Identity::trusted(read(row, "identity")?),
        event_type: EventType::trusted(read(row, "type")?),
        profile_id: read::<Option<&str>>(row, "profile_id")?.map(ProfileId::trusted),
        reason: read(row, "reason")?,
        occurred_at: timestamp(row, "occurred_at")?,
        first_at: timestamp(row, "first_at")?,
        last_at: timestamp(row, "last_at")?,
        attempts: u32::try_from(read::<i64>(row, "attempts")?)
            .map_err(|_| damaged("a dead letter's attempts"))?,
        event: read(row, "event")?,
        entry: None,
    })
}
