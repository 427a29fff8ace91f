//! A rollup in few bytes: what it adds by profile and link, so that a name stands once for all of it.

use std::borrow::Cow;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::delta::BadDelta;
use crate::moment::{Day, Hour, Minute};
use crate::names::{LinkId, ProfileId};
use crate::privacy::VisitorId;
use crate::report::MilestoneRow;
use crate::rollup::{self, Counts, Dimension, Rollup};
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
    /// What it says of it. Always there.
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
#[derive(Default, Serialize, Deserialize)]
struct Json<'a>(#[serde(borrow)] Cow<'a, str>);

impl Json<'_> {
    fn of<T: Serialize + Default + PartialEq>(value: &T) -> Self {
        if *value == T::default() {
            return Self::default();
        }
        Self(serde_json::to_string(value).expect("texts, numbers and lists become JSON").into())
    }

    fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    fn read<T: for<'de> Deserialize<'de> + Default>(&self) -> serde_json::Result<T> {
        if self.is_default() { Ok(T::default()) } else { serde_json::from_str(&self.0) }
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

    fn add_to(&self, sketch: &mut Sketch, lg_k: u8) -> Result<(), BadDelta> {
        match self {
            Self::Few(bytes) => {
                let (few, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    return Err(BadDelta);
                }
                for visitor in few {
                    sketch.add(VisitorId(u64::from_le_bytes(*visitor)));
                }
            }
            Self::Many(bytes) => sketch.merge(&Sketch::from_bytes_of(lg_k, bytes)?),
        }
        Ok(())
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

impl<'a> From<&'a Rollup> for Packed<'a> {
    fn from(rollup: &'a Rollup) -> Self {
        let profiles = rollup.profiles.iter().map(|(name, profile)| OfProfile::of(name, profile));
        Packed { profiles: profiles.collect(), milestones: Json::of(&rollup.milestones) }
    }
}

impl<'a> OfProfile<'a> {
    fn of(name: &'a ProfileId, profile: &'a rollup::OfProfile) -> Self {
        let visitors = profile.visitors.iter();
        Self {
            name: name.as_str(),
            said: Some(profile.said.as_deref().map_or_else(Json::default, Json::of)),
            hours: profile.hours.iter().map(|(hour, counts)| (*hour, *counts)).collect(),
            minutes: profile.minutes.iter().map(|(minute, counts)| (*minute, *counts)).collect(),
            audience: profile.audience().collect(),
            visitors: visitors.map(|(day, sketch)| (*day, Visitors::of(sketch))).collect(),
            links: profile.links.iter().map(|(name, link)| OfLink::of(name, link)).collect(),
        }
    }
}

impl<'a> OfLink<'a> {
    fn of(name: &'a LinkId, link: &'a rollup::OfLink) -> Self {
        let visitors = link.visitors.iter();
        Self {
            name: name.as_str(),
            said: link.said.as_deref().map(Json::of),
            hours: link.hours.iter().map(|(hour, clicks)| (*hour, *clicks)).collect(),
            visitors: visitors.map(|(day, sketch)| (*day, Visitors::of(sketch))).collect(),
        }
    }
}

impl Packed<'_> {
    /// Adds what these bytes hold to a rollup. After an error that holds a part of it.
    pub(crate) fn add_to(rollup: &mut Rollup, bytes: &[u8]) -> Result<(), BadDelta> {
        let (packed, rest): (Packed<'_>, _) = postcard::take_from_bytes(bytes)?;
        if !rest.is_empty() {
            return Err(BadDelta);
        }
        let milestones: Vec<MilestoneRow> = packed.milestones.read()?;
        rollup.milestones.extend(milestones);
        for of in packed.profiles {
            rollup.change(of.name, |profile| of.add_to(profile))?;
        }
        Ok(())
    }
}

impl OfProfile<'_> {
    fn add_to(self, profile: &mut rollup::OfProfile) -> Result<(), BadDelta> {
        if let Some(said) = self.said.filter(|said| !said.is_default()) {
            profile.say(&said.read()?);
        }
        profile.hours.add_all(self.hours.into_iter(), Counts::merge);
        profile.minutes.add_all(self.minutes.into_iter(), Counts::merge);
        profile.add_to_audience(&self.audience);
        for (day, visitors) in self.visitors {
            visitors.add_to(profile.visitors_on(day), PROFILE_LG_K)?;
        }
        for of in self.links {
            profile.change_link(of.name, |link| of.add_to(link))?;
        }
        Ok(())
    }
}

impl OfLink<'_> {
    fn add_to(self, link: &mut rollup::OfLink) -> Result<(), BadDelta> {
        if let Some(said) = self.said {
            link.say(&said.read()?);
        }
        link.hours.add_all(self.hours.into_iter(), AddAssign::add_assign);
        for (day, visitors) in self.visitors {
            visitors.add_to(link.visitors_on(day), LINK_LG_K)?;
        }
        Ok(())
    }
}
