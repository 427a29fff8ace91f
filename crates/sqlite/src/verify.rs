//! The proof: the archive recounted against every rollup.

use sqlx::{Row as _, SqliteConnection, query, query_scalar};
use treehook_event::{Day, Difference, Failure, Hour};

use crate::classify::failure;
use crate::counts;
use crate::database::Database;
use crate::recount::{self, Proof, Scope};
use crate::states::{LINKS, PROFILES};
use crate::visitors::{LINK_VISITORS, PROFILE_VISITORS};

/// Differences that are reported. With more than that something is wrong on the whole, and a longer
/// list tells nobody more; a repair still puts all of them right.
const DIFFERENCES_MAX: usize = 10_000;

/// Differences, up to as many as anybody reads.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Difference>);

impl Findings {
    /// How many more are kept.
    pub(crate) fn room(&self) -> usize {
        DIFFERENCES_MAX - self.0.len()
    }

    /// Keeps it while there is room.
    pub(crate) fn add(&mut self, difference: Difference) {
        if self.room() > 0 {
            self.0.push(difference);
        }
    }
}

/// Compares day by day, each on a snapshot of its own, so that neither memory nor the log grows with
/// the archive; then states, which have no day. With `repair`, what differs is looked at again in a
/// transaction that keeps everybody else from writing, and put right there.
pub(crate) async fn verify(database: &Database, repair: bool) -> Result<Vec<Difference>, Failure> {
    let mut findings = Findings::default();
    // Before everything that a `Timestamp` can name.
    let mut day = Day(i32::MIN);
    while let Some(next) = next_day(database, day).await? {
        day = next;
        let mut snapshot = database.snapshot().await?;
        let differs = compare_day(&mut snapshot, day, &mut findings, false).await?;
        drop(snapshot);
        if differs && repair {
            let mut transaction = database.write().await?;
            compare_day(&mut transaction, day, &mut Findings::default(), true).await?;
            transaction.commit().await.map_err(failure)?;
        }
        if findings.room() == 0 && !repair {
            return Ok(findings.0);
        }
    }
    let mut snapshot = database.snapshot().await?;
    let differs = compare_states(&mut snapshot, &mut findings, false).await?;
    drop(snapshot);
    if differs && repair {
        let mut transaction = database.write().await?;
        compare_states(&mut transaction, &mut Findings::default(), true).await?;
        transaction.commit().await.map_err(failure)?;
    }
    Ok(findings.0)
}

/// The first day after this one that the archive or a rollup knows.
async fn next_day(database: &Database, day: Day) -> Result<Option<Day>, Failure> {
    let row = query(
        "select (select min(day) from events where day > ?1) as events, \
         (select min(day) from link_days where day > ?1) as link_days, \
         (select min(day) from audience where day > ?1) as audience, \
         (select min(day) from profile_visitors where day > ?1) as profile_visitors, \
         (select min(day) from link_visitors where day > ?1) as link_visitors, \
         (select min(hour) from link_hours where hour >= (?1 + 1) * 24) as link_hours, \
         (select min(hour) from profile_hours where hour >= (?1 + 1) * 24) as profile_hours",
    )
    .bind(day.0)
    .fetch_one(database.readers())
    .await
    .map_err(failure)?;
    let mut days = Vec::with_capacity(7);
    for table in ["events", "link_days", "audience", "profile_visitors", "link_visitors"] {
        days.extend(row.try_get::<Option<i32>, _>(table).map_err(failure)?.map(Day));
    }
    for table in ["link_hours", "profile_hours"] {
        let hour: Option<i64> = row.try_get(table).map_err(failure)?;
        days.extend(hour.map(|hour| Hour(hour).day()));
    }
    Ok(days.into_iter().min())
}

/// Compares everything that is counted by hour or day; says whether anything differs.
async fn compare_day(
    connection: &mut SqliteConnection,
    day: Day,
    findings: &mut Findings,
    repair: bool,
) -> Result<bool, Failure> {
    // Read together with the day itself: retention raises it before it deletes anything.
    let is_whole = archive_from_day(connection).await?.is_none_or(|from| day >= from);
    let proof = if is_whole { Proof::Whole } else { Proof::Readable };
    let scope = Scope { day: Some(day), proof, repair };
    let counts_differ = is_whole && counts::compare(connection, day, findings).await?;
    if counts_differ && repair {
        counts::rebuild(connection, day).await?;
    }
    let profiles = recount::compare(connection, &PROFILE_VISITORS, scope, findings).await?;
    let links = recount::compare(connection, &LINK_VISITORS, scope, findings).await?;
    Ok(counts_differ || profiles || links)
}

/// Compares what links and profiles are; says whether anything differs.
async fn compare_states(
    connection: &mut SqliteConnection,
    findings: &mut Findings,
    repair: bool,
) -> Result<bool, Failure> {
    let is_whole = archive_from_day(connection).await?.is_none();
    let proof = if is_whole { Proof::Whole } else { Proof::Missing };
    let scope = Scope { day: None, proof, repair };
    let links = recount::compare(connection, &LINKS, scope, findings).await?;
    let profiles = recount::compare(connection, &PROFILES, scope, findings).await?;
    Ok(links || profiles)
}

/// The first day that the archive holds whole; none while nothing was dropped.
pub(crate) async fn archive_from_day(
    connection: &mut SqliteConnection,
) -> Result<Option<Day>, Failure> {
    let day = query_scalar::<_, i32>("select value from meta where name = 'archive_from_day'")
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    Ok(day.map(Day))
}
