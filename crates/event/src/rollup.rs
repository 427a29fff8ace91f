//! How events count: a batch folded into what has to be added to the store, ordered by key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::delta::pairs;
use crate::derive::Device;
use crate::event::{Body, Event, Milestone, Visit, VisitKind};
use crate::moment::{Day, Hour, Minute, Timestamp};
use crate::names::{LinkId, ProfileId};
use crate::projection::{LinkState, ProfileState, Stamp};
use crate::report::MilestoneRow;
use crate::sketch::Sketch;

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

    fn merge(&mut self, other: Self) {
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
    /// A [`Device`].
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

/// What a batch adds. Every map is ordered, so that two workers always lock rows in the same order.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Rollup {
    /// Clicks per link and UTC hour.
    #[serde(with = "pairs")]
    pub link_hours: BTreeMap<(ProfileId, LinkId, Hour), u64>,
    /// Views and clicks per profile and UTC hour.
    #[serde(with = "pairs")]
    pub profile_hours: BTreeMap<(ProfileId, Hour), Counts>,
    /// The same by minute: of these a store keeps the latest alone.
    #[serde(with = "pairs")]
    pub profile_minutes: BTreeMap<(ProfileId, Minute), Counts>,
    /// Clicks per profile, UTC day and value of a dimension.
    #[serde(with = "pairs")]
    pub audience: BTreeMap<(ProfileId, Day, Dimension, String), u64>,
    /// Visitors per profile and UTC day: whoever viewed or clicked.
    #[serde(with = "pairs")]
    pub profile_visitors: BTreeMap<(ProfileId, Day), Sketch>,
    /// Visitors per link and UTC day.
    #[serde(with = "pairs")]
    pub link_visitors: BTreeMap<(ProfileId, LinkId, Day), Sketch>,
    /// What the batch says of links.
    #[serde(with = "pairs")]
    pub links: BTreeMap<(ProfileId, LinkId), LinkState>,
    /// Every profile that the batch names, with what it says of it.
    #[serde(with = "pairs")]
    pub profiles: BTreeMap<ProfileId, ProfileState>,
    /// Milestones reached.
    pub milestones: Vec<MilestoneRow>,
}

/// Folds events that are recorded for the first time. The caller has removed duplicates.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Rollup {
    let mut rollup = Rollup::default();
    rollup.take_in(events);
    rollup
}

fn add_each<K: Ord, V>(mine: &mut BTreeMap<K, V>, theirs: BTreeMap<K, V>, add: impl Fn(&mut V, V)) {
    for (key, value) in theirs {
        match mine.entry(key) {
            Entry::Vacant(place) => drop(place.insert(value)),
            Entry::Occupied(mut place) => add(place.get_mut(), value),
        }
    }
}

impl Rollup {
    /// As [`fold`], on top of what has been folded already.
    pub fn take_in<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            if let Some(profile_id) = event.profile_id()
                && !self.profiles.contains_key(profile_id)
            {
                self.profiles.insert(profile_id.clone(), ProfileState::default());
            }
            self.add(event);
        }
    }

    /// The minutes that are young enough to be kept at `now`, in order.
    pub fn live_minutes(&self, now: Timestamp) -> Vec<(&ProfileId, Minute, Counts)> {
        let oldest = Minute(now.minute().0 - LIVE_MINUTES);
        let minutes = self.profile_minutes.iter().filter(|((_, minute), _)| *minute > oldest);
        minutes.map(|((profile, minute), counts)| (profile, *minute, *counts)).collect()
    }

    /// Clicks per link and UTC day, in order: the sums of `link_hours`.
    pub fn link_days(&self) -> Vec<(&ProfileId, &LinkId, Day, u64)> {
        let mut days: Vec<(&ProfileId, &LinkId, Day, u64)> = Vec::new();
        for ((profile, link, hour), clicks) in &self.link_hours {
            let day = hour.day();
            match days.last_mut() {
                Some(last) if (last.0, last.1, last.2) == (profile, link, day) => last.3 += clicks,
                Some(_) | None => days.push((profile, link, day, *clicks)),
            }
        }
        days
    }

    /// Adds what another batch brings. In whatever order they are added, the sum is the same.
    pub fn merge(&mut self, other: Self) {
        add_each(&mut self.link_hours, other.link_hours, |mine, theirs| *mine += theirs);
        add_each(&mut self.profile_hours, other.profile_hours, Counts::merge);
        add_each(&mut self.profile_minutes, other.profile_minutes, Counts::merge);
        add_each(&mut self.audience, other.audience, |mine, theirs| *mine += theirs);
        let merge = |mine: &mut Sketch, theirs| mine.merge(&theirs);
        add_each(&mut self.profile_visitors, other.profile_visitors, merge);
        add_each(&mut self.link_visitors, other.link_visitors, merge);
        add_each(&mut self.links, other.links, |mine, theirs| mine.merge(&theirs));
        add_each(&mut self.profiles, other.profiles, |mine, theirs| mine.merge(&theirs));
        self.milestones.extend(other.milestones);
    }

    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        // Whatever is counted names a profile.
        self.profiles.is_empty()
    }

    fn add(&mut self, event: &Event) {
        let stamp = || Stamp { at: event.occurred_at, by: event.identity.clone() };
        match &event.body {
            Body::Visit(visit) => self.add_visit(visit, event, stamp),
            Body::Link(change) => {
                let key = (change.profile_id.clone(), change.link_id.clone());
                self.links.entry(key).or_default().merge(&LinkState::of_change(change, &stamp()));
            }
            Body::Profile(fields) => {
                let said = ProfileState::of_fields(fields, &stamp());
                self.profiles.entry(fields.profile_id.clone()).or_default().merge(&said);
            }
            Body::Milestone(milestone) => self.add_milestone(milestone, event),
            Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => (),
        }
    }

    fn add_visit(&mut self, visit: &Visit, event: &Event, stamp: impl Fn() -> Stamp) {
        let (hour, day) = (event.occurred_at.hour(), event.occurred_at.day());
        let profile_id = &visit.profile_id;
        let minute = event.occurred_at.minute();
        self.profile_hours.entry((profile_id.clone(), hour)).or_default().add(&visit.kind);
        self.profile_minutes.entry((profile_id.clone(), minute)).or_default().add(&visit.kind);
        match &visit.kind {
            VisitKind::View => (),
            VisitKind::Click { link_id } => {
                let link = (profile_id.clone(), link_id.clone());
                *self.link_hours.entry((link.0.clone(), link.1.clone(), hour)).or_default() += 1;
                self.add_audience(visit, day);
                if let Some(visitor) = visit.visitor {
                    let key = (link.0.clone(), link.1.clone(), day);
                    self.link_visitors.entry(key).or_insert_with(Sketch::for_link).add(visitor);
                }
                if let Some(fields) = &visit.link {
                    let said = LinkState::of_fields(fields, &stamp());
                    self.links.entry(link).or_default().merge(&said);
                }
            }
        }
        if let Some(visitor) = visit.visitor {
            let key = (profile_id.clone(), day);
            self.profile_visitors.entry(key).or_insert_with(Sketch::for_profile).add(visitor);
        }
    }

    fn add_audience(&mut self, visit: &Visit, day: Day) {
        let device: Device = visit.device;
        for (dimension, value) in [
            (Dimension::Country, visit.country.as_str()),
            (Dimension::Device, device.as_str()),
            (Dimension::Referrer, visit.referrer.as_str()),
        ] {
            let key = (visit.profile_id.clone(), day, dimension, value.to_owned());
            *self.audience.entry(key).or_default() += 1;
        }
    }

    fn add_milestone(&mut self, milestone: &Milestone, event: &Event) {
        self.milestones.push(MilestoneRow {
            key: event.key(),
            milestone: milestone.clone(),
            at: event.occurred_at,
        });
    }
}
