//! How events count: a batch folded into what has to be added to the store, ordered by key.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::AddAssign;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::event::{Body, Event, Visit, VisitKind};
use crate::moment::{Day, Hour, Minute, Timestamp};
use crate::names::{LinkId, ProfileId};
use crate::projection::{LinkState, ProfileState, Stamp};
use crate::report::MilestoneRow;
use crate::sketch::Sketch;
use crate::sorted::{MANY, Sorted};

/// Views and clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Views of the profile.
    pub views: u64,
    /// Clicks on any of its links.
    pub clicks: u64,
}

impl Counts {
    fn add(&mut self, kind: &VisitKind) {
        match kind {
            VisitKind::View => self.views += 1,
            VisitKind::Click { .. } => self.clicks += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.views += other.views;
        self.clicks += other.clicks;
    }
}

/// How long minutes are kept: what people call live, and as long before it to compare with, twice
/// over. What is older is in the hours.
pub const LIVE_MINUTES: i64 = 120;

/// Views and clicks of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteCount {
    /// Which minute.
    pub minute: Minute,
    /// Views and clicks in it.
    pub counts: Counts,
}

/// By what a profile's clicks are broken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// ISO 3166-1 alpha-2 or `unknown`.
    Country,
    /// A [`Device`](crate::Device).
    Device,
    /// A host, `direct` or `unknown`.
    Referrer,
}

impl Dimension {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Device => "device",
            Self::Referrer => "referrer",
        }
    }

    /// Read back.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Country, Self::Device, Self::Referrer].into_iter().find(|d| d.as_str() == name)
    }
}

/// What a batch adds, by profile and link, so that a name stands once for all of it. All of it is told in order of key, so
/// that two workers always lock rows in the same order.
#[derive(Debug, Clone, Default)]
pub struct Rollup {
    /// Every profile that the batch names.
    pub(crate) profiles: BTreeMap<ProfileId, OfProfile>,
    /// Milestones reached.
    pub milestones: Vec<MilestoneRow>,
}

/// What a batch adds to a profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfProfile {
    /// What it says of it.
    pub(crate) said: Option<Box<ProfileState>>,
    /// Views and clicks per UTC hour.
    pub(crate) hours: Sorted<Hour, Counts>,
    /// The same by minute: of these a store keeps the latest alone.
    pub(crate) minutes: Sorted<Minute, Counts>,
    /// Clicks per UTC day and value of a dimension.
    pub(crate) audience: Sorted<(Day, Dimension, CompactString), u64>,
    /// Visitors per UTC day: whoever viewed or clicked.
    pub(crate) visitors: Sorted<Day, Sketch>,
    /// There may be a hundred thousand.
    pub(crate) links: BTreeMap<LinkId, Box<OfLink>>,
}

/// What a batch adds to a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfLink {
    /// What it says of it, if anything.
    pub(crate) said: Option<Box<LinkState>>,
    /// Clicks per UTC hour.
    pub(crate) hours: Sorted<Hour, u64>,
    /// Visitors per UTC day.
    pub(crate) visitors: Sorted<Day, Sketch>,
}

/// Folds events that are recorded for the first time. The caller has removed duplicates.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Rollup {
    let mut rollup = Rollup::default();
    rollup.take_in(events);
    rollup
}

/// Changes what stands under a name, which is copied where nothing does yet.
fn change<K, V: Default, T>(
    map: &mut BTreeMap<K, V>,
    name: &str,
    copied: impl FnOnce(&str) -> K,
    act: impl FnOnce(&mut V) -> T,
) -> T
where
    K: Ord + Borrow<str>,
{
    if let Some(value) = map.get_mut(name) {
        return act(value);
    }
    act(map.entry(copied(name)).or_default())
}

impl Rollup {
    /// As [`fold`], on top of what has been folded already.
    pub fn take_in<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            if let Some(profile_id) = event.profile_id() {
                self.change(profile_id.as_str(), |profile| profile.add(event));
            }
            if let Body::Milestone(milestone) = &event.body {
                self.milestones.push(MilestoneRow {
                    key: event.key(),
                    milestone: milestone.clone(),
                    at: event.occurred_at,
                });
            }
        }
    }

    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        // Whatever is counted names a profile.
        self.profiles.is_empty()
    }

    /// How many profiles and links it names, as a measure of the memory that it takes.
    pub fn names(&self) -> usize {
        self.profiles.values().map(|profile| 1 + profile.links.len()).sum()
    }

    /// Clicks per link and UTC hour.
    pub fn link_hours(&self) -> impl Iterator<Item = (&ProfileId, &LinkId, Hour, u64)> {
        self.of_links().flat_map(|(profile, name, link)| {
            link.hours.iter().map(move |(hour, clicks)| (profile, name, *hour, *clicks))
        })
    }

    /// Clicks per link and UTC day: the sums of [`link_hours`](Self::link_hours).
    pub fn link_days(&self) -> Vec<(&ProfileId, &LinkId, Day, u64)> {
        let mut days: Vec<(&ProfileId, &LinkId, Day, u64)> = Vec::new();
        for (profile, name, link) in self.of_links() {
            let first = days.len();
            for (hour, clicks) in link.hours.iter() {
                let day = hour.day();
                match days[first..].last_mut() {
                    Some(last) if last.2 == day => last.3 += clicks,
                    Some(_) | None => days.push((profile, name, day, *clicks)),
                }
            }
        }
        days
    }

    /// Views and clicks per profile and UTC hour.
    pub fn profile_hours(&self) -> impl Iterator<Item = (&ProfileId, Hour, Counts)> {
        self.profiles.iter().flat_map(|(name, profile)| {
            profile.hours.iter().map(move |(hour, counts)| (name, *hour, *counts))
        })
    }

    /// Views and clicks per profile and minute, where that is young enough to be kept at `now`.
    pub fn live_minutes(&self, now: Timestamp) -> Vec<(&ProfileId, Minute, Counts)> {
        let oldest = Minute(now.minute().0 - LIVE_MINUTES);
        let live = self.profiles.iter().flat_map(|(name, profile)| {
            let minutes = profile.minutes.after(|minute| *minute <= oldest);
            minutes.map(move |(minute, counts)| (name, *minute, *counts))
        });
        live.collect()
    }

    /// Clicks per profile, UTC day and value of a dimension.
    pub fn audience(&self) -> impl Iterator<Item = (&ProfileId, Day, Dimension, &str, u64)> {
        self.profiles.iter().flat_map(|(name, profile)| {
            profile.audience().map(move |(day, by, value, clicks)| (name, day, by, value, clicks))
        })
    }

    /// Visitors per profile and UTC day: whoever viewed or clicked.
    pub fn profile_visitors(&self) -> impl Iterator<Item = (&ProfileId, Day, &Sketch)> {
        self.profiles.iter().flat_map(|(name, profile)| {
            profile.visitors.iter().map(move |(day, visitors)| (name, *day, visitors))
        })
    }

    /// Visitors per link and UTC day.
    pub fn link_visitors(&self) -> impl Iterator<Item = (&ProfileId, &LinkId, Day, &Sketch)> {
        self.of_links().flat_map(|(profile, name, link)| {
            link.visitors.iter().map(move |(day, visitors)| (profile, name, *day, visitors))
        })
    }

    /// Every profile that the batch names, with what it says of it.
    pub fn profiles(&self) -> impl Iterator<Item = (&ProfileId, Option<&ProfileState>)> {
        self.profiles.iter().map(|(name, profile)| (name, profile.said.as_deref()))
    }

    /// What the batch says of links.
    pub fn links(&self) -> impl Iterator<Item = (&ProfileId, &LinkId, &LinkState)> {
        self.of_links()
            .filter_map(|(profile, name, link)| Some((profile, name, link.said.as_deref()?)))
    }

    fn of_links(&self) -> impl Iterator<Item = (&ProfileId, &LinkId, &OfLink)> {
        self.profiles.iter().flat_map(|(profile, of)| {
            of.links.iter().map(move |(name, link)| (profile, name, &**link))
        })
    }

    /// Changes what is added to a profile.
    pub(crate) fn change<T>(&mut self, name: &str, act: impl FnOnce(&mut OfProfile) -> T) -> T {
        change(&mut self.profiles, name, ProfileId::trusted, act)
    }
}

impl OfProfile {
    fn add(&mut self, event: &Event) {
        let stamp = || Stamp { at: event.occurred_at, by: event.identity.clone() };
        match &event.body {
            Body::Visit(visit) => self.add_visit(visit, event.occurred_at, stamp),
            Body::Link(change) => {
                let said = LinkState::of_change(change, &stamp());
                self.change_link(change.link_id.as_str(), |link| link.say(&said));
            }
            Body::Profile(fields) => self.say(&ProfileState::of_fields(fields, &stamp())),
            Body::Milestone(_) | Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => {
            }
        }
    }

    fn add_visit(&mut self, visit: &Visit, at: Timestamp, stamp: impl Fn() -> Stamp) {
        let (hour, day) = (at.hour(), at.day());
        self.hours.at(hour, Counts::default).add(&visit.kind);
        self.minutes.at(at.minute(), Counts::default).add(&visit.kind);
        if let VisitKind::Click { link_id } = &visit.kind {
            for (dimension, value) in [
                (Dimension::Country, visit.country.as_str()),
                (Dimension::Device, visit.device.as_str()),
                (Dimension::Referrer, visit.referrer.as_str()),
            ] {
                self.add_audience(day, dimension, value, 1);
            }
            self.change_link(link_id.as_str(), |link| {
                *link.hours.at(hour, u64::default) += 1;
                if let Some(visitor) = visit.visitor {
                    link.visitors_on(day).add(visitor);
                }
                if let Some(fields) = &visit.link {
                    link.say(&LinkState::of_fields(fields, &stamp()));
                }
            });
        }
        if let Some(visitor) = visit.visitor {
            self.visitors_on(day).add(visitor);
        }
    }

    fn add_audience(&mut self, day: Day, dimension: Dimension, value: &str, more: u64) {
        let like = |held: &(Day, Dimension, CompactString)| {
            (held.0, held.1, &*held.2).cmp(&(day, dimension, value))
        };
        *self.audience.at_like(like, || ((day, dimension, value.into()), 0)) += more;
    }

    /// Adds clicks per UTC day and value of a dimension. A few are found one by one, without a copy of their values.
    pub(crate) fn add_to_audience(&mut self, clicks: &[(Day, Dimension, &str, u64)]) {
        if clicks.len() < MANY {
            for (day, dimension, value, clicks) in clicks {
                self.add_audience(*day, *dimension, value, *clicks);
            }
        } else {
            let owned = |(day, dimension, value, clicks): &(Day, Dimension, &str, u64)| {
                ((*day, *dimension, (*value).into()), *clicks)
            };
            self.audience.add_all(clicks.iter().map(owned), AddAssign::add_assign);
        }
    }

    pub(crate) fn audience(&self) -> impl Iterator<Item = (Day, Dimension, &str, u64)> {
        let audience = self.audience.iter();
        audience.map(|((day, dimension, value), clicks)| (*day, *dimension, &**value, *clicks))
    }

    pub(crate) fn visitors_on(&mut self, day: Day) -> &mut Sketch {
        self.visitors.at(day, Sketch::for_profile)
    }

    /// Changes what is added to a link.
    pub(crate) fn change_link<T>(&mut self, name: &str, act: impl FnOnce(&mut OfLink) -> T) -> T {
        change(&mut self.links, name, LinkId::trusted, |link: &mut Box<OfLink>| act(link))
    }

    pub(crate) fn say(&mut self, said: &ProfileState) {
        self.said.get_or_insert_default().merge(said);
    }
}

impl OfLink {
    pub(crate) fn visitors_on(&mut self, day: Day) -> &mut Sketch {
        self.visitors.at(day, Sketch::for_link)
    }

    pub(crate) fn say(&mut self, said: &LinkState) {
        self.said.get_or_insert_default().merge(said);
    }
}
