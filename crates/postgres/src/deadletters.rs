//! Dead letters: buried, listed and removed by key.

use std::collections::BTreeMap;

use sqlx::{Connection as _, FromRow, PgConnection};
use time::OffsetDateTime;
use treehook_event::{
    DeadFilter, DeadLetter, EventType, Identity, Key, ProfileId, SourceName, Timestamp,
    settled_dead,
};

use crate::columns::{moment, timestamp};
use crate::ledger;

/// Buries them all, or none. The same event again raises its attempts, and its latest reason stands.
pub(crate) async fn bury(
    connection: &mut PgConnection,
    letters: &[DeadLetter],
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    for round in rounds(letters) {
        bury_distinct(&mut transaction, &round).await?;
        continue_history(&mut transaction, &round).await?;
    }
    ledger::settle(&mut transaction, &settled_dead(letters)).await?;
    transaction.commit().await
}

/// One statement cannot change the same row twice: what stands in a batch more than once takes
/// turns. Ordered by key, so that two who bury the same letters do not wait for each other.
fn rounds(letters: &[DeadLetter]) -> Vec<BTreeMap<Key, &DeadLetter>> {
    let mut rounds: Vec<BTreeMap<Key, &DeadLetter>> = Vec::new();
    for letter in letters {
        let key = letter.key();
        match rounds.iter_mut().find(|round| !round.contains_key(&key)) {
            Some(round) => {
                round.insert(key, letter);
            }
            None => rounds.push(BTreeMap::from([(key, letter)])),
        }
    }
    rounds
}

async fn bury_distinct(
    connection: &mut PgConnection,
    letters: &BTreeMap<Key, &DeadLetter>,
) -> sqlx::Result<()> {
    // A dead letter is the last resort: it must not fail for a character that text cannot hold.
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    let rows = || letters.values();
    sqlx::query(
        "insert into dead_letters as t (key, source, identity, type, profile_id, reason,
             occurred_at, first_at, last_at, attempts, event)
         select key, source, identity, type, profile_id, reason, occurred_at, first_at, last_at,
             attempts, event
         from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
             $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::integer[], $11::text[])
             as n (key, source, identity, type, profile_id, reason, occurred_at, first_at, last_at,
             attempts, event)
         order by key
         on conflict (key) do update set
             profile_id = excluded.profile_id,
             reason = excluded.reason,
             last_at = greatest(t.last_at, excluded.last_at),
             attempts = t.attempts + 1,
             event = excluded.event",
    )
    .bind(letters.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(rows().map(|letter| text(letter.source.as_str())).collect::<Vec<_>>())
    .bind(rows().map(|letter| text(letter.identity.as_str())).collect::<Vec<_>>())
    .bind(rows().map(|letter| text(letter.event_type.as_str())).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|letter| letter.profile_id.as_ref().map(|id| text(id.as_str())))
            .collect::<Vec<_>>(),
    )
    .bind(rows().map(|letter| text(&letter.reason)).collect::<Vec<_>>())
    .bind(rows().map(|letter| moment(letter.occurred_at)).collect::<Vec<_>>())
    .bind(rows().map(|letter| moment(letter.first_at)).collect::<Vec<_>>())
    .bind(rows().map(|letter| moment(letter.last_at)).collect::<Vec<_>>())
    .bind(rows().map(|letter| attempts(letter.attempts)).collect::<Vec<_>>())
    .bind(rows().map(|letter| text(&letter.event)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// A letter that comes back from a redrive has the attempts and the first time that it had. A
/// statement of its own, once the letter's row is ours: it sees what a redrive that held the row until
/// now has left, and whoever touches these rows holds the letter's, so that nobody waits in a circle.
async fn continue_history(
    connection: &mut PgConnection,
    letters: &BTreeMap<Key, &DeadLetter>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with past as (
             delete from redriven_letters where key = any($1) returning key, first_at, attempts
         )
         update dead_letters t set
             first_at = least(t.first_at, past.first_at),
             attempts = t.attempts + past.attempts
         from past where t.key = past.key",
    )
    .bind(letters.keys().map(|key| key.0).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

fn attempts(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}

#[derive(FromRow)]
struct Columns {
    source: String,
    identity: String,
    #[sqlx(rename = "type")]
    event_type: String,
    profile_id: Option<String>,
    reason: String,
    occurred_at: OffsetDateTime,
    first_at: OffsetDateTime,
    last_at: OffsetDateTime,
    attempts: i32,
    event: String,
}

impl From<Columns> for DeadLetter {
    fn from(row: Columns) -> Self {
        Self {
            source: SourceName::trusted(&row.source),
            identity: Identity::trusted(&row.identity),
            event_type: EventType::trusted(&row.event_type),
            profile_id: row.profile_id.as_deref().map(ProfileId::trusted),
            reason: row.reason,
            occurred_at: timestamp(row.occurred_at),
            first_at: timestamp(row.first_at),
            last_at: timestamp(row.last_at),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            event: row.event,
            entry: None,
        }
    }
}

/// Those that the filter means, in order of key.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &DeadFilter,
) -> sqlx::Result<Vec<DeadLetter>> {
    let rows: Vec<Columns> = sqlx::query_as(
        "select source, identity, type, profile_id, reason, occurred_at, first_at, last_at, attempts,
             event
         from dead_letters
         where ($1::text is null or reason = $1 or split_part(reason, ':', 1) = $1)
             and ($2::text is null or source = $2)
             and ($3::text is null or type = $3)
             and ($4::timestamptz is null or last_at <= $4)
             and (cardinality($5::bytea[]) = 0 or key = any($5))
             and ($6::bytea is null or key > $6)
             and ($7::text is null or profile_id = $7)
             and ($8::timestamptz is null or last_at >= $8)
         order by key
         limit $9",
    )
    .bind(filter.reason.as_deref())
    .bind(filter.source.as_deref())
    .bind(filter.event_type.as_deref())
    .bind(filter.last_before.map(moment))
    .bind(filter.ids.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(filter.after.map(|key| key.0))
    .bind(filter.profile.as_deref())
    .bind(filter.last_after.map(moment))
    .bind(i64::from(filter.limit))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(DeadLetter::from).collect())
}

/// Removes those that still have this many attempts; says how many. Locked in order of key first, as
/// [`bury`] visits them; what was buried again meanwhile is looked at anew and stays.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    letters: &[(Key, u32)],
) -> sqlx::Result<u64> {
    let removed = sqlx::query(
        "with settled as (
             select t.key from dead_letters t
             join unnest($1::bytea[], $2::integer[]) as n (key, attempts)
                 on t.key = n.key and t.attempts = n.attempts
             order by t.key
             for update of t
         )
         delete from dead_letters t using settled s where t.key = s.key",
    )
    .bind(letters.iter().map(|(key, _)| key.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|(_, count)| attempts(*count)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

/// As [`remove`], and remembers what they continue from when they come back.
pub(crate) async fn release(
    connection: &mut PgConnection,
    letters: &[(Key, u32)],
    now: Timestamp,
) -> sqlx::Result<u64> {
    let released = sqlx::query(
        "with settled as (
             select t.key from dead_letters t
             join unnest($1::bytea[], $2::integer[]) as n (key, attempts)
                 on t.key = n.key and t.attempts = n.attempts
             order by t.key
             for update of t
         ), gone as (
             delete from dead_letters t using settled s where t.key = s.key
             returning t.key, t.first_at, t.attempts
         )
         insert into redriven_letters as past (key, first_at, attempts, redriven_at)
         select key, first_at, attempts, $3 from gone
         -- Left behind by a letter that an older version buried.
         on conflict (key) do update set
             first_at = least(past.first_at, excluded.first_at),
             attempts = past.attempts + excluded.attempts,
             redriven_at = excluded.redriven_at",
    )
    .bind(letters.iter().map(|(key, _)| key.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|(_, count)| attempts(*count)).collect::<Vec<_>>())
    .bind(moment(now))
    .execute(connection)
    .await?;
    Ok(released.rows_affected())
}

/// Forgets what was redriven before this and never came back. Whoever buries such a letter just now
/// is not waited for: he forgets it himself.
pub(crate) async fn forget_redriven(
    connection: &mut PgConnection,
    before: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from redriven_letters where key in (
             select key from redriven_letters where redriven_at < $1 for update skip locked
         )",
    )
    .bind(moment(before))
    .execute(connection)
    .await?;
    Ok(())
}
