//! Dead letters that tell of somebody.

use sqlx::{FromRow, PgConnection};
use treehook_event::{Body, Event, decode_batch};

use super::Subject;

/// Letters looked at in one go: their events are held in memory meanwhile.
const LETTERS_MAX: i64 = 500;

impl Subject<'_> {
    /// Texts of which an event that tells of them holds one.
    fn marks(&self) -> Vec<String> {
        match self {
            Self::Visitor(id) => vec![format!("\"visitor\":\"{:016x}\"", id.0)],
            Self::Profile(id) => {
                // As JSON writes it, quotes escaped.
                let id = serde_json::Value::from(id.as_str()).to_string();
                let begun = id.strip_suffix('"').unwrap_or(&id);
                vec![format!("\"subject\":{id}"), format!("\"subject\":{begun}/")]
            }
        }
    }

    /// The profile: a letter may name it where its event has no place for it.
    fn profile(&self) -> Option<&str> {
        match self {
            Self::Visitor(_) => None,
            Self::Profile(id) => Some(id.as_str()),
        }
    }

    fn is_told_of_by(&self, event: &Event) -> bool {
        match (self, &event.body) {
            (Self::Visitor(id), Body::Visit(visit)) => visit.visitor == Some(*id),
            (
                Self::Visitor(_),
                Body::Link(_)
                | Body::Profile(_)
                | Body::Milestone(_)
                | Body::Unknown { .. }
                | Body::Unfit { .. }
                | Body::Statement(_),
            ) => false,
            (Self::Profile(id), _) => event.profile_id() == Some(*id),
        }
    }
}

#[derive(FromRow)]
struct Letter {
    key: [u8; 16],
    profile_id: Option<String>,
    event: String,
}

/// Removes the letters that tell of somebody; says how many.
pub(super) async fn remove(
    connection: &mut PgConnection,
    subject: Subject<'_>,
) -> sqlx::Result<u64> {
    let marks = subject.marks();
    let profile = subject.profile();
    let mut after: Option<[u8; 16]> = None;
    let mut removed = 0;
    loop {
        let letters = marked(connection, &marks, profile, after).await?;
        let Some(last) = letters.last() else { return Ok(removed) };
        after = Some(last.key);
        let keys: Vec<[u8; 16]> = letters
            .into_iter()
            .filter(|letter| {
                let is_named = profile.is_some() && letter.profile_id.as_deref() == profile;
                is_named || tells_of(&letter.event, subject)
            })
            .map(|letter| letter.key)
            .collect();
        removed += delete(connection, &keys).await?;
    }
}

/// Whether the event does. One that cannot be read any more is judged by its mark: rather a letter
/// too many than one that tells of somebody who was to be forgotten.
fn tells_of(event: &str, subject: Subject<'_>) -> bool {
    decode_batch(event.as_bytes())
        .map_or(true, |events| events.iter().any(|event| subject.is_told_of_by(event)))
}

/// Letters that hold one of the marks or are the profile's, in order of key.
async fn marked(
    connection: &mut PgConnection,
    marks: &[String],
    profile: Option<&str>,
    after: Option<[u8; 16]>,
) -> sqlx::Result<Vec<Letter>> {
    sqlx::query_as(
        "select key, profile_id, event from dead_letters
         where ($2::bytea is null or key > $2)
             and (profile_id = $4
                 or exists (select from unnest($1::text[]) mark where strpos(event, mark) > 0))
         order by key
         limit $3",
    )
    .bind(marks)
    .bind(after)
    .bind(LETTERS_MAX)
    .bind(profile)
    .fetch_all(connection)
    .await
}

/// Removes letters, locked in order of key, as burying them does.
async fn delete(connection: &mut PgConnection, keys: &[[u8; 16]]) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "with gone as (
             select key from dead_letters where key = any($1) order by key for update
         )
         delete from dead_letters t using gone g where t.key = g.key",
    )
    .bind(keys)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
