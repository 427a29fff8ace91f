//! Dead letters, where people can list, redrive and discard them.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, query};
use treehook_event::{DeadFilter, DeadLetter, EventType, Failure, Identity, Key, SourceName};

use crate::bulk;
use crate::classify::{damaged, failure};
use crate::database::Database;
use crate::rows::{read, timestamp};

/// Keeps dead letters; the same event again raises its attempts, and its last reason stands.
pub(crate) async fn bury(database: &Database, letters: &[DeadLetter]) -> Result<(), Failure> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut transaction = database.write().await?;
    bulk::execute(
        &mut transaction,
        "insert into dead_letters (key, source, identity, type, reason, occurred_at, first_at, \
         last_at, attempts, event)",
        "on conflict (key) do update set attempts = attempts + 1, reason = excluded.reason, \
         last_at = max(last_at, excluded.last_at), event = excluded.event",
        letters,
        |values, letter| {
            values
                .push_bind(letter.key().0.to_vec())
                .push_bind(letter.source.as_str())
                .push_bind(letter.identity.as_str())
                .push_bind(letter.event_type.as_str())
                .push_bind(letter.reason.as_str())
                .push_bind(letter.occurred_at.as_millis())
                .push_bind(letter.first_at.as_millis())
                .push_bind(letter.last_at.as_millis())
                .push_bind(i64::from(letter.attempts))
                .push_bind(letter.event.as_str());
        },
    )
    .await?;
    transaction.commit().await.map_err(failure)
}

/// Those that the filter means, in order of key.
pub(crate) async fn list(
    database: &Database,
    filter: &DeadFilter,
) -> Result<Vec<DeadLetter>, Failure> {
    let mut statement = QueryBuilder::new(
        "select source, identity, type, reason, occurred_at, first_at, last_at, attempts, event \
         from dead_letters where true",
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
    if let Some(last_before) = filter.last_before {
        statement.push(" and last_at <= ").push_bind(last_before.as_millis());
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

/// Removes those that were not buried again since they were read; says how many.
pub(crate) async fn remove(database: &Database, letters: &[(Key, u32)]) -> Result<u64, Failure> {
    let pairs: serde_json::Value =
        letters.iter().map(|(key, attempts)| serde_json::json!([digits(key), attempts])).collect();
    let removed = query(
        "delete from dead_letters where (key, attempts) in \
         (select unhex(value ->> 0), value ->> 1 from json_each(?1))",
    )
    .bind(pairs.to_string())
    .execute(database.writer())
    .await
    .map_err(failure)?;
    Ok(removed.rows_affected())
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
        reason: read(row, "reason")?,
        occurred_at: timestamp(row, "occurred_at")?,
        first_at: timestamp(row, "first_at")?,
        last_at: timestamp(row, "last_at")?,
        attempts: u32::try_from(read::<i64>(row, "attempts")?)
            .map_err(|_| damaged("a dead letter's attempts"))?,
        event: read(row, "event")?,
    })
}
