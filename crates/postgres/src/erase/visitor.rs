//! A visitor's pseudonym: out of the archive, and out of the sketches that it can rebuild.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use treehook_event::{Day, LinkId, ProfileId, Sketch, VisitorId};

use super::{Step, whole};
use crate::columns::{count, date};
use crate::merge::{self, LINK_VISITORS, PROFILE_VISITORS, Place};
use crate::{deltas, partitions};

/// Events rewritten in one transaction: a sketch for each is held in memory at worst, 16 KiB at most.
const EVENTS_MAX: i64 = 1000;

/// Forgets the visitor in some of the events of a day. A sketch is locked and then rebuilt from what
/// the archive holds by then: a worker who found in it whom it brings has left it as it was, and only
/// the archive shows that it came.
pub(super) async fn step(
    connection: &mut PgConnection,
    visitor: VisitorId,
    day: Day,
) -> sqlx::Result<Step> {
    let visits = blank(connection, visitor, day).await?;
    let (of_profiles, of_links) = places(&visits, day);
    let events = whole(visits.len());
    // An archive that has been cut short would forget everybody else of that day too.
    let from = partitions::archive_from(connection).await?;
    let mut sketches = 0;
    // What was archived with these visits is in the sketches before they are rebuilt, and not added after.
    deltas::lock(connection).await?;
    deltas::fold_all(connection).await?;
    if from.is_none_or(|from| day >= from) {
        merge::rebuild::<Sketch>(connection, &PROFILE_VISITORS, &of_profiles).await?;
        merge::rebuild::<Sketch>(connection, &LINK_VISITORS, &of_links).await?;
        sketches = whole(of_profiles.len() + of_links.len());
    }
    Ok(Step {
        events,
        sketches,
        profiles: of_profiles.into_iter().map(|place| place.profile).collect(),
        finished: events < count(EVENTS_MAX),
    })
}

/// Profile and link of a visit.
type Visited = (String, Option<String>);

/// Takes the pseudonym out of archived events; answers what was visited. In the detail, which is JSON
/// of ours, it cannot be mistaken: a quote within a text is escaped.
async fn blank(
    connection: &mut PgConnection,
    visitor: VisitorId,
    day: Day,
) -> sqlx::Result<Vec<Visited>> {
    sqlx::query_as(
        "update events set visitor = null, detail = replace(detail, $3, '')
         where day = $1 and visitor = $2 and key = any(array(
             select key from events where day = $1 and visitor = $2 limit $4
         ))
         returning profile_id, link_id",
    )
    .bind(date(day))
    .bind(visitor.0.cast_signed())
    .bind(format!(",\"visitor\":\"{:016x}\"", visitor.0))
    .bind(EVENTS_MAX)
    .fetch_all(connection)
    .await
}

/// The sketches that the visits stand in.
fn places(visits: &[Visited], day: Day) -> (BTreeSet<Place>, BTreeSet<Place>) {
    let at = |profile: &str, link: Option<&str>| Place {
        profile: ProfileId::trusted(profile),
        link: link.map(LinkId::trusted),
        day: Some(day),
    };
    let of_profiles = visits.iter().map(|(profile, _)| at(profile, None));
    let of_links = visits.iter().filter_map(|(profile, link)| Some((profile, link.as_deref()?)));
    (of_profiles.collect(), of_links.map(|(profile, link)| at(profile, Some(link))).collect())
}

/// How many sketches of these profiles and their links are older than the archive.
pub(super) async fn sketches_kept(
    connection: &mut PgConnection,
    profiles: &BTreeSet<ProfileId>,
) -> sqlx::Result<u64> {
    let Some(from) = partitions::archive_from(connection).await? else { return Ok(0) };
    let kept: i64 = sqlx::query_scalar(
        "select (select count(*) from profile_visitors where profile_id = any($1) and day < $2)
             + (select count(*) from link_visitors where profile_id = any($1) and day < $2)",
    )
    .bind(profiles.iter().map(ProfileId::as_str).collect::<Vec<_>>())
    .bind(date(from))
    .fetch_one(connection)
    .await?;
    Ok(count(kept))
}
