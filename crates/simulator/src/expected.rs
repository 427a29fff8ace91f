//! What a receiver must count when everything that is due to be accepted has been.

use std::collections::{BTreeMap, HashSet};

use crate::creator::Creator;
use crate::story::{Happening, What};

/// What a receiver must count: repeats once, forgeries never. Holds a number per visitor, so it
/// is for runs of up to some millions of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Events, of every type.
    pub events: u64,
    /// Events of types that nothing counts.
    pub unknown: u64,
    /// By profile id.
    pub profiles: BTreeMap<String, ExpectedProfile>,
}

/// What must be counted for a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedProfile {
    /// Views of it.
    pub views: u64,
    /// Clicks on any of its links.
    pub clicks: u64,
    /// Milestones it reached.
    pub milestones: u64,
    /// By link id.
    pub links: BTreeMap<String, ExpectedLink>,
    visitors: HashSet<u64>,
}

/// What must be counted for a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedLink {
    /// Clicks on it.
    pub clicks: u64,
    /// Whether it is gone at the end.
    pub deleted: bool,
    visitors: HashSet<u64>,
}

impl ExpectedProfile {
    /// Distinct people who viewed or clicked, over the whole time.
    pub fn visitors(&self) -> usize {
        self.visitors.len()
    }
}

impl ExpectedLink {
    /// Distinct people who clicked, over the whole time.
    pub fn visitors(&self) -> usize {
        self.visitors.len()
    }
}

impl Expected {
    /// Clicks on all links of all profiles.
    pub fn clicks(&self) -> u64 {
        self.profiles.values().map(|profile| profile.clicks).sum()
    }

    /// Views of all profiles.
    pub fn views(&self) -> u64 {
        self.profiles.values().map(|profile| profile.views).sum()
    }

    pub(crate) fn add(&mut self, happening: &Happening, creator: &Creator) {
        self.events += 1;
        if let What::Lead { .. } = happening.what {
            self.unknown += 1;
            return;
        }
        let profile = slot(&mut self.profiles, &creator.id);
        match happening.what {
            What::View { visitor, .. } => {
                profile.views += 1;
                profile.visitors.insert(visitor.number);
            }
            What::Click { link, visitor, .. } => {
                profile.clicks += 1;
                profile.visitors.insert(visitor.number);
                let link = slot(&mut profile.links, &creator.links[link].id);
                link.clicks += 1;
                link.visitors.insert(visitor.number);
            }
            What::LinkCreated { link }
            | What::LinkRetitled { link }
            | What::LinkMoved { link }
            | What::LinkDeleted { link } => {
                let link = &creator.links[link];
                slot(&mut profile.links, &link.id).deleted = link.deleted;
            }
            What::Milestone { .. } => profile.milestones += 1,
            What::ProfileUpdated | What::Lead { .. } => (),
        }
    }
}

/// Looks before it inserts: a key is only copied for the first of its kind.
fn slot<'a, T: Default>(map: &'a mut BTreeMap<String, T>, key: &str) -> &'a mut T {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), T::default());
    }
    map.get_mut(key).expect("it has just been put there")
}
