//! Which rows of a merged table are meant, one by one or column by column.

use std::fmt;

use sqlx::FromRow;
use time::Date;
use treehook_event::{Day, LinkId, ProfileId};

use crate::columns::{date, day};

/// Which row of a table: only visitors have a day, and profiles have no link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) profile: ProfileId,
    pub(crate) link: Option<LinkId>,
    pub(crate) day: Option<Day>,
}

impl fmt::Display for Place {
    /// For people: `p1/l1 2026-11-24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.profile)?;
        if let Some(link) = &self.link {
            write!(f, "/{link}")?;
        }
        self.day.map_or(Ok(()), |day| write!(f, " {}", day.to_iso()))
    }
}

/// A place as the database names it.
#[derive(FromRow)]
pub(crate) struct PlaceColumns {
    profile_id: String,
    link_id: Option<String>,
    day: Option<Date>,
}

impl From<PlaceColumns> for Place {
    fn from(columns: PlaceColumns) -> Self {
        Self {
            profile: ProfileId::trusted(&columns.profile_id),
            link: columns.link_id.as_deref().map(LinkId::trusted),
            day: columns.day.map(day),
        }
    }
}

/// Places, column by column.
pub(crate) struct Places<'a> {
    pub(crate) profiles: Vec<&'a str>,
    pub(crate) links: Vec<Option<&'a str>>,
    pub(crate) days: Vec<Option<Date>>,
}

impl<'a> Places<'a> {
    pub(crate) fn of(places: impl Iterator<Item = &'a Place>) -> Self {
        let mut columns = Self { profiles: Vec::new(), links: Vec::new(), days: Vec::new() };
        for place in places {
            columns.profiles.push(place.profile.as_str());
            columns.links.push(place.link.as_ref().map(LinkId::as_str));
            columns.days.push(place.day.map(date));
        }
        columns
    }
}
