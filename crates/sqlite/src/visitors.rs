//! Visitors per day, as sketches.

use sqlx::sqlite::SqliteRow;
use treehook_event::{Day, Failure, LinkId, ProfileId, Sketch, VisitorId};

use crate::bulk::Values;
use crate::classify::damaged;
use crate::merged::{Merged, Table};
use crate::rows::read;

/// Whoever viewed a profile or clicked on one of its links.
pub(crate) const PROFILE_VISITORS: Table<(ProfileId, Day), Sketch> = Table {
    name: "profile_visitors",
    keys: "profile_id, day",
    value: "sketch",
    recount: "select profile_id, day, visitor, null as value from events \
         where day = ?1 and kind is not null and visitor is not null \
         union all select profile_id, day, null, sketch from profile_visitors where day = ?1 \
         order by profile_id, day",
    learn: |known, _, row| see(known.unwrap_or_else(Sketch::for_profile), row),
};

/// Whoever clicked on a link.
pub(crate) const LINK_VISITORS: Table<(ProfileId, LinkId, Day), Sketch> = Table {
    name: "link_visitors",
    keys: "profile_id, day, link_id",
    value: "sketch",
    recount: "select profile_id, day, link_id, visitor, null as value from events \
         where day = ?1 and kind = 'click' and visitor is not null \
         union all select profile_id, day, link_id, null, sketch from link_visitors where day = ?1 \
         order by profile_id, day, link_id",
    learn: |known, _, row| see(known.unwrap_or_else(Sketch::for_link), row),
};

fn see(mut sketch: Sketch, row: &SqliteRow) -> Result<Option<Sketch>, Failure> {
    sketch.add(VisitorId(read::<i64>(row, "visitor")?.cast_unsigned()));
    Ok(Some(sketch))
}

impl Merged for Sketch {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        Self::from_bytes(read(row, "value")?).map_err(|_| damaged("a sketch of visitors"))
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(self.to_bytes());
    }

    fn absorb(&mut self, other: &Self) -> bool {
        let before = self.to_bytes();
        self.merge(other);
        self.to_bytes() != before
    }

    fn agrees(&self, other: &Self) -> bool {
        // Not the bytes: those depend on the order in which visitors came.
        self.count() == other.count()
    }

    fn describe(&self) -> String {
        format!("{} visitors", self.count())
    }
}
