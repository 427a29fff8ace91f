//! What links and profiles are now: last writer wins, field by field, whatever the order of arrival.

use serde::{Deserialize, Serialize};

use crate::event::{LinkChange, LinkChangeKind, LinkFields, ProfileFields};
use crate::moment::Timestamp;
use crate::names::Identity;

/// Who wrote a field, and when by the event's own time. Later wins; at the same time, the greater id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The event time.
    pub at: Timestamp,
    /// The event's identity.
    pub by: Identity,
}

/// A value with the stamp of who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    /// The value.
    pub value: T,
    /// Who wrote it.
    #[serde(flatten)]
    pub stamp: Stamp,
}

type Field<T> = Option<Stamped<T>>;

/// Keeps the later of the two. Identities are unique within a source: where two sources wrote at the same time under
/// the same identity, the greater value wins, so that no order of arrival shows.
fn later<T: Clone + Ord>(mine: &mut Field<T>, theirs: Option<&Stamped<T>>) {
    let Some(other) = theirs else { return };
    let is_earlier = |held: &Stamped<T>| (&held.stamp, &held.value) < (&other.stamp, &other.value);
    if mine.as_ref().is_none_or(is_earlier) {
        *mine = Some(other.clone());
    }
}

fn stamped<T>(value: Option<T>, stamp: &Stamp) -> Field<T> {
    value.map(|value| Stamped { value, stamp: stamp.clone() })
}

/// A link as far as events have told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkState {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Field<String>,
    /// Its target; a value of `None` is one that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Field<Option<String>>,
    /// Its kind.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Field<String>,
    /// Its place on the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Field<i64>,
    /// Whether visitors see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Field<bool>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Field<Option<String>>,
    /// Since when it is gone: a deleted link stays deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Stamp>,
}

impl LinkState {
    /// What one event says of a link.
    pub fn of_fields(fields: &LinkFields, stamp: &Stamp) -> Self {
        let at = fields.as_of.map_or(stamp.at, |as_of| as_of.min(stamp.at));
        let stamp = &Stamp { at, by: stamp.by.clone() };
        Self {
            title: stamped(fields.title.clone(), stamp),
            url: stamped(fields.url.clone(), stamp),
            kind: stamped(fields.kind.clone(), stamp),
            position: stamped(fields.position, stamp),
            enabled: stamped(fields.enabled, stamp),
            thumbnail: stamped(fields.thumbnail.clone(), stamp),
            deleted: None,
        }
    }

    /// What one change says of a link.
    pub fn of_change(change: &LinkChange, stamp: &Stamp) -> Self {
        let mut state = Self::of_fields(&change.fields, stamp);
        if change.change == LinkChangeKind::Deleted {
            state.deleted = Some(stamp.clone());
        }
        state
    }

    /// Takes what the other knows better. Commutes, associates, and repeating it changes nothing.
    pub fn merge(&mut self, other: &Self) {
        later(&mut self.title, other.title.as_ref());
        later(&mut self.url, other.url.as_ref());
        later(&mut self.kind, other.kind.as_ref());
        later(&mut self.position, other.position.as_ref());
        later(&mut self.enabled, other.enabled.as_ref());
        later(&mut self.thumbnail, other.thumbnail.as_ref());
        // The earliest deletion: nothing revives it, so the first one is when it went.
        self.deleted = match (self.deleted.take(), other.deleted.clone()) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

/// A profile as far as events have told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileState {
    /// Its name in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Field<String>,
    /// Its name on the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Field<String>,
    /// The text below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Field<String>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Field<Option<String>>,
    /// Its look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Field<String>,
}

impl ProfileState {
    /// What one event says of a profile.
    pub fn of_fields(fields: &ProfileFields, stamp: &Stamp) -> Self {
        Self {
            username: stamped(fields.username.clone(), stamp),
            display_name: stamped(fields.display_name.clone(), stamp),
            bio: stamped(fields.bio.clone(), stamp),
            avatar_url: stamped(fields.avatar_url.clone(), stamp),
            theme: stamped(fields.theme.clone(), stamp),
        }
    }

    /// Takes what the other knows better.
    pub fn merge(&mut self, other: &Self) {
        later(&mut self.username, other.username.as_ref());
        later(&mut self.display_name, other.display_name.as_ref());
        later(&mut self.bio, other.bio.as_ref());
        later(&mut self.avatar_url, other.avatar_url.as_ref());
        later(&mut self.theme, other.theme.as_ref());
    }

    /// Whether no event has told anything.
    pub fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}
