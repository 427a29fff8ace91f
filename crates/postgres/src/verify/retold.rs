//! How what is merged is told again from rows of the archive, compared and shown.

use sqlx::FromRow;
use time::OffsetDateTime;
use treehook_event::{
    Body, Event, Identity, LinkState, ProfileState, Rollup, Sketch, SourceName, VisitorId, fold,
};

use crate::classify::Unreadable;
use crate::columns::timestamp;
use crate::merge::{Kept, Place};

/// Longest text of a state that is shown, in characters.
const SHOWN_MAX: usize = 300;

/// What one row of the archive says: a visitor, or who told which detail when.
#[derive(FromRow)]
pub(super) struct Said {
    visitor: Option<i64>,
    identity: Option<String>,
    occurred_at: Option<OffsetDateTime>,
    detail: Option<String>,
}

/// What can be told again from the archive.
pub(super) trait Retold: Kept {
    /// Takes in what one row of the archive says.
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()>;
    /// Whether reports could not tell the two apart.
    fn agrees(&self, other: &Self) -> bool;
    /// For people.
    fn shown(&self) -> String;
}

impl Retold for Sketch {
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()> {
        if let Some(visitor) = said.visitor {
            let empty = if place.link.is_some() { Self::for_link } else { Self::for_profile };
            told.get_or_insert_with(empty).add(VisitorId(visitor.cast_unsigned()));
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        // Bytes depend on the order in which visitors came; the count does not.
        self.count() == other.count()
    }

    fn shown(&self) -> String {
        format!("{} visitors", self.count())
    }
}

impl Retold for ProfileState {
    fn hear(told: &mut Option<Self>, place: &Place, said: &Said) -> sqlx::Result<()> {
        // Whatever names a profile makes it known.
        let state = told.get_or_insert_default();
        if let Some(more) = rollup(said)?.profiles.get(&place.profile) {
            state.merge(more);
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn shown(&self) -> String {
        json(self)
    }
}

impl Retold for LinkState {
    fn hear(told: &mut Option<Self>, _: &Place, said: &Said) -> sqlx::Result<()> {
        for more in rollup(said)?.links.values() {
            told.get_or_insert_default().merge(more);
        }
        Ok(())
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn shown(&self) -> String {
        json(self)
    }
}

fn json(state: &impl Kept) -> String {
    String::from_utf8_lossy(&state.to_stored()).chars().take(SHOWN_MAX).collect()
}

/// What a detail adds up to: by the very arithmetic that counted it.
fn rollup(said: &Said) -> sqlx::Result<Rollup> {
    let (Some(identity), Some(at), Some(detail)) = (&said.identity, said.occurred_at, &said.detail)
    else {
        return Ok(Rollup::default());
    };
    let body: Body = serde_json::from_str(detail).map_err(|_| Unreadable { table: "events" })?;
    let at = timestamp(at);
    Ok(fold([&Event {
        source: SourceName::trusted("archive"),
        identity: Identity::trusted(identity),
        occurred_at: at,
        received_at: at,
        body,
        payload: "null".into(),
    }]))
}
