//! Recording a batch: archive, dedupe and count in one transaction.

use sqlx::{SqliteConnection, query};
use treehook_event::{
    Event, Failure, LinkId, MilestoneRow, ProfileState, Recorded, Rollup, Timestamp, settled,
};

use crate::archive::Prepared;
use crate::bulk;
use crate::classify::failure;
use crate::database::{Database, PAGE_BYTES};
use crate::states::{LINKS, PROFILES};
use crate::visitors::{LINK_VISITORS, PROFILE_VISITORS};
use crate::{counts, ledger, minutes};

/// Archives and counts what is fresh.
pub(crate) async fn record(
    database: &Database,
    events: &[Event],
    now: Timestamp,
) -> Result<Recorded, Failure> {
    if events.is_empty() {
        return Ok(Recorded::default());
    }
    let prepared = Prepared::of(events, now).await;
    let mut transaction = database.write_small().await?;
    let (fresh, rollup) = prepared.insert(&mut transaction).await?;
    add(&mut transaction, &rollup, now).await?;
    ledger::settle(&mut transaction, &settled(events, &fresh)).await?;
    let duplicates = (events.len() - fresh.len()) as u64;
    let newest = fresh.iter().map(|position| events[*position].occurred_at).max();
    tally(&mut transaction, fresh.len() as u64, duplicates, newest).await?;
    transaction.commit().await.map_err(failure)?;
    database.wrote(written(events, &fresh));
    Ok(Recorded { fresh, duplicates })
}

/// Bytes of the log that a batch takes, about: its payloads, and for each event the page of the index that its key, which is
/// random, falls on.
fn written(events: &[Event], fresh: &[usize]) -> u64 {
    fresh.iter().map(|position| events[*position].payload.len() as u64 + PAGE_BYTES).sum()
}

/// Proves that a batch could be committed now, by a commit that changes nothing.
pub(crate) async fn ready(database: &Database) -> Result<(), Failure> {
    let mut transaction = database.write().await?;
    // There and back: SQLite does not write a row that is set to what it is already.
    for sql in ["update tally set applied = applied + 1", "update tally set applied = applied - 1"]
    {
        query(sql).execute(&mut *transaction).await.map_err(failure)?;
    }
    transaction.commit().await.map_err(failure)
}

/// Adds what the batch comes to.
async fn add(
    connection: &mut SqliteConnection,
    rollup: &Rollup,
    now: Timestamp,
) -> Result<(), Failure> {
    counts::add(connection, rollup).await?;
    minutes::add(connection, &rollup.live_minutes(now)).await?;
    let visitors = rollup.profile_visitors();
    let visitors = visitors.map(|(profile, day, seen)| ((profile.clone(), day), seen));
    PROFILE_VISITORS.absorb(connection, &visitors.collect::<Vec<_>>()).await?;
    let visitors = rollup.link_visitors();
    let visitors =
        visitors.map(|(profile, link, day, seen)| ((profile.clone(), link.clone(), day), seen));
    LINK_VISITORS.absorb(connection, &visitors.collect::<Vec<_>>()).await?;
    let links = rollup.links();
    let links = links.map(|(profile, link, said)| ((profile.clone(), link.clone()), said));
    LINKS.absorb(connection, &links.collect::<Vec<_>>()).await?;
    let nothing = ProfileState::default();
    let profiles = rollup.profiles();
    let profiles = profiles.map(|(profile, said)| (profile.clone(), said.unwrap_or(&nothing)));
    PROFILES.absorb(connection, &profiles.collect::<Vec<_>>()).await?;
    add_milestones(connection, &rollup.milestones).await
}

async fn add_milestones(
    connection: &mut SqliteConnection,
    milestones: &[MilestoneRow],
) -> Result<(), Failure> {
    bulk::execute(
        connection,
        "insert into milestones (key, profile_id, link_id, metric, threshold, value, at)",
        // An event that comes again after the archive has forgotten it is no second milestone.
        "on conflict (key) do nothing",
        milestones,
        |values, row| {
            let milestone = &row.milestone;
            values
                .push_bind(row.key.0.to_vec())
                .push_bind(milestone.profile_id.as_str())
                .push_bind(milestone.link_id.as_ref().map(LinkId::as_str))
                .push_bind(milestone.metric.as_deref())
                .push_bind(milestone.threshold)
                .push_bind(milestone.value)
                .push_bind(row.at.as_millis());
        },
    )
    .await
}

async fn tally(
    connection: &mut SqliteConnection,
    applied: u64,
    duplicates: u64,
    newest: Option<Timestamp>,
) -> Result<(), Failure> {
    query(
        "update tally set applied = applied + ?1, duplicates = duplicates + ?2, \
         newest_event = max(ifnull(newest_event, ?3), ifnull(?3, newest_event))",
    )
    .bind(applied.cast_signed())
    .bind(duplicates.cast_signed())
    .bind(newest.map(Timestamp::as_millis))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
