//! A rollup in few bytes: what it adds by profile and link, so that a name stands once for all of it.

use std::borrow::Cow;
use std::collections::btree_map::Iter;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use crate::delta::BadDelta;
use crate::moment::{Day, Hour, Minute};
use crate::names::{LinkId, ProfileId};
use crate::report::MilestoneRow;
use crate::rollup::{Counts, Dimension, Rollup};
use crate::sketch::{BadSketch, LINK_LG_K, PROFILE_LG_K, Sketch};

/// What a rollup adds, in order of profile and link. What is said of them, and milestones, are rare and stand as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Packed<'a> {
    #[serde(borrow)]
    profiles: Vec<OfProfile<'a>>,
    #[serde(borrow)]
    milestones: Json<'a>,
}

#[derive(Serialize, Deserialize)]
struct OfProfile<'a> {
    name: &'a str,
    /// Whether the rollup says that there is such a profile.
    #[serde(borrow)]
    said: Option<Json<'a>>,
    hours: Vec<(Hour, Counts)>,
    minutes: Vec<(Minute, Counts)>,
    #[serde(borrow)]
    audience: Vec<(Day, Dimension, &'a str, u64)>,
    #[serde(borrow)]
    visitors: Vec<(Day, Visitors<'a>)>,
    #[serde(borrow)]
    links: Vec<OfLink<'a>>,
}

#[derive(Serialize, Deserialize)]
struct OfLink<'a> {
    name: &'a str,
    #[serde(borrow)]
    said: Option<Json<'a>>,
    hours: Vec<(Hour, u64)>,
    #[serde(borrow)]
    visitors: Vec<(Day, Visitors<'a>)>,
}

/// JSON; nothing in place of what is as by default.
#[derive(Serialize, Deserialize)]
struct Json<'a>(#[serde(borrow)] Cow<'a, str>);

impl Json<'_> {
    fn of<T: Serialize + Default + PartialEq>(value: &T) -> Self {
        if *value == T::default() {
            return Self(Cow::Borrowed(""));
        }
        Self(serde_json::to_string(value).expect("texts, numbers and lists become JSON").into())
    }

    fn read<T: for<'de> Deserialize<'de> + Default>(&self) -> serde_json::Result<T> {
        if self.0.is_empty() { Ok(T::default()) } else { serde_json::from_str(&self.0) }
    }
}

/// A few visitors, eight bytes for each, or a sketch as it is stored.
#[derive(Serialize, Deserialize)]
enum Visitors<'a> {
    Few(#[serde(borrow)] Cow<'a, [u8]>),
    Many(#[serde(borrow)] Cow<'a, [u8]>),
}

impl Visitors<'_> {
    fn of(sketch: &Sketch) -> Self {
        match sketch.few() {
            Some(few) => Self::Few(few.iter().flat_map(|visitor| visitor.to_le_bytes()).collect()),
            None => Self::Many(sketch.to_bytes().into()),
        }
    }

    fn read(&self, lg_k: u8) -> Result<Sketch, BadDelta> {
        match self {
            Self::Few(bytes) => {
                let (few, rest) = bytes.as_chunks();
                let few = few.iter().map(|visitor| u64::from_le_bytes(*visitor));
                if rest.is_empty() { Ok(Sketch::of_few(lg_k, few)) } else { Err(BadDelta) }
            }
            Self::Many(bytes) => Ok(Sketch::from_bytes_of(lg_k, bytes)?),
        }
    }
}

impl From<postcard::Error> for BadDelta {
    fn from(_: postcard::Error) -> Self {
        Self
    }
}

impl From<serde_json::Error> for BadDelta {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

impl From<BadSketch> for BadDelta {
    fn from(_: BadSketch) -> Self {
        Self
    }
}

impl Packed<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("memory takes in whatever is written to it")
    }
}

/// How a profile's name stands in the bytes of whatever names it.
pub(crate) fn name_in_bytes(profile: &ProfileId) -> Vec<u8> {
    postcard::to_allocvec(profile.as_str()).expect("memory takes in whatever is written to it")
}

/// What is left of a map, in order of key.
type Rest<'a, K, V> = Peekable<Iter<'a, K, V>>;

/// Takes what is next in a map while its key begins as asked.
fn take<'a, K, V, T>(
    rest: &mut Rest<'a, K, V>,
    begins: impl Fn(&K) -> bool,
    packed: impl Fn(&'a K, &'a V) -> T,
) -> Vec<T> {
    let mut taken = Vec::new();
    while let Some((key, value)) = rest.next_if(|(key, _)| begins(key)) {
        taken.push(packed(key, value));
    }
    taken
}

impl<'a> From<&'a Rollup> for Packed<'a> {
    fn from(rollup: &'a Rollup) -> Self {
        let mut said = rollup.profiles.iter().peekable();
        let mut hours = rollup.profile_hours.iter().peekable();
        let mut minutes = rollup.profile_minutes.iter().peekable();
        let mut audience = rollup.audience.iter().peekable();
        let mut visitors = rollup.profile_visitors.iter().peekable();
        let mut links = Links {
            said: rollup.links.iter().peekable(),
            hours: rollup.link_hours.iter().peekable(),
            visitors: rollup.link_visitors.iter().peekable(),
        };
        let mut profiles = Vec::with_capacity(rollup.profiles.len());
        while let Some(profile) = [
            said.peek().map(|(profile, _)| *profile),
            hours.peek().map(|((profile, ..), _)| profile),
            minutes.peek().map(|((profile, ..), _)| profile),
            audience.peek().map(|((profile, ..), _)| profile),
            visitors.peek().map(|((profile, ..), _)| profile),
            links.next().map(|(profile, _)| profile),
        ]
        .into_iter()
        .flatten()
        .min()
        {
            profiles.push(OfProfile {
                name: profile.as_str(),
                said: said.next_if(|(of, _)| *of == profile).map(|(_, state)| Json::of(state)),
                hours: take(&mut hours, |(of, _)| of == profile, |key, counts| (key.1, *counts)),
                minutes: take(
                    &mut minutes,
                    |(of, _)| of == profile,
                    |key, counts| (key.1, *counts),
                ),
                audience: take(
                    &mut audience,
                    |(of, ..)| of == profile,
                    |(_, day, dimension, value), clicks| {
                        (*day, *dimension, value.as_str(), *clicks)
                    },
                ),
                visitors: take(
                    &mut visitors,
                    |(of, _)| of == profile,
                    |(_, day), sketch| (*day, Visitors::of(sketch)),
                ),
                links: links.of(profile),
            });
        }
        Packed { profiles, milestones: Json::of(&rollup.milestones) }
    }
}

/// What is left of the maps by link.
struct Links<'a> {
    said: Rest<'a, (ProfileId, LinkId), crate::LinkState>,
    hours: Rest<'a, (ProfileId, LinkId, Hour), u64>,
    visitors: Rest<'a, (ProfileId, LinkId, Day), Sketch>,
}

impl<'a> Links<'a> {
    fn next(&mut self) -> Option<(&'a ProfileId, &'a LinkId)> {
        [
            self.said.peek().map(|((profile, link), _)| (profile, link)),
            self.hours.peek().map(|((profile, link, _), _)| (profile, link)),
            self.visitors.peek().map(|((profile, link, _), _)| (profile, link)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Those of the profile that is next.
    fn of(&mut self, profile: &ProfileId) -> Vec<OfLink<'a>> {
        let mut links = Vec::new();
        while let Some((of, link)) = self.next()
            && of == profile
        {
            let is_said =
                |((of, name), _): &(&(ProfileId, LinkId), _)| (of, name) == (profile, link);
            links.push(OfLink {
                name: link.as_str(),
                said: self.said.next_if(is_said).map(|(_, state)| Json::of(state)),
                hours: take(
                    &mut self.hours,
                    |(of, name, _)| (of, name) == (profile, link),
                    |(.., hour), clicks| (*hour, *clicks),
                ),
                visitors: take(
                    &mut self.visitors,
                    |(of, name, _)| (of, name) == (profile, link),
                    |(.., day), sketch| (*day, Visitors::of(sketch)),
                ),
            });
        }
        links
    }
}

impl Packed<'_> {
    /// What these bytes add.
    pub(crate) fn rollup(bytes: &[u8]) -> Result<Rollup, BadDelta> {
        let (packed, rest): (Packed<'_>, _) = postcard::take_from_bytes(bytes)?;
        if !rest.is_empty() {
            return Err(BadDelta);
        }
        let milestones: Vec<MilestoneRow> = packed.milestones.read()?;
        let mut rollup = Rollup { milestones, ..Rollup::default() };
        for of_profile in packed.profiles {
            of_profile.add_to(&mut rollup)?;
        }
        Ok(rollup)
    }
}

impl OfProfile<'_> {
    fn add_to(self, rollup: &mut Rollup) -> Result<(), BadDelta> {
        let profile = ProfileId::trusted(self.name);
        let hours = self.hours.into_iter().map(|(hour, counts)| ((profile.clone(), hour), counts));
        rollup.profile_hours.extend(hours);
        let minutes = self.minutes.into_iter();
        let minutes = minutes.map(|(minute, counts)| ((profile.clone(), minute), counts));
        rollup.profile_minutes.extend(minutes);
        let audience = self.audience.into_iter().map(|(day, dimension, value, clicks)| {
            ((profile.clone(), day, dimension, value.to_owned()), clicks)
        });
        rollup.audience.extend(audience);
        for (day, visitors) in self.visitors {
            let sketch = visitors.read(PROFILE_LG_K)?;
            rollup.profile_visitors.insert((profile.clone(), day), sketch);
        }
        for of_link in self.links {
            of_link.add_to(rollup, &profile)?;
        }
        if let Some(said) = self.said {
            rollup.profiles.insert(profile, said.read()?);
        }
        Ok(())
    }
}

impl OfLink<'_> {
    fn add_to(self, rollup: &mut Rollup, profile: &ProfileId) -> Result<(), BadDelta> {
        let link = LinkId::trusted(self.name);
        let hours = self.hours.into_iter();
        let hours = hours.map(|(hour, clicks)| ((profile.clone(), link.clone(), hour), clicks));
        rollup.link_hours.extend(hours);
        for (day, visitors) in self.visitors {
            let sketch = visitors.read(LINK_LG_K)?;
            rollup.link_visitors.insert((profile.clone(), link.clone(), day), sketch);
        }
        if let Some(said) = self.said {
            rollup.links.insert((profile.clone(), link), said.read()?);
        }
        Ok(())
    }
}
