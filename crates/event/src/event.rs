//! What an event is, once it is believed and derived.

use bytestring::ByteString;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloudevents::decode_batch;
use crate::derive::Device;
use crate::ledger::{Entry, Statement};
use crate::moment::Timestamp;
use crate::names::{EventType, Identity, LinkId, ProfileId, SourceName};
use crate::privacy::VisitorId;

/// How far ahead of the clock an event may be, in milliseconds (CONTRACT.md section 2).
pub const FUTURE_MAX: i64 = 3_600_000;

/// What the reason of an event that could not be decoded starts with.
const UNDECODABLE: &str = "undecodable";

/// One event, ready to be moved and counted. Holds no personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who sent it.
    pub source: SourceName,
    /// Unique within its source.
    pub identity: Identity,
    /// The event time: the click's own, else the envelope's.
    pub occurred_at: Timestamp,
    /// When the receiver took it in.
    pub received_at: Timestamp,
    /// Its place in the ledger, once a receiver has taken it in.
    pub entry: Option<Entry>,
    /// What happened.
    pub body: Body,
    /// The platform's `data`, personal data removed: the text of a JSON value; a part of its batch where that was not compressed.
    pub payload: ByteString,
}

/// What happened, in canonical form (CONTRACT.md section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// `link.clicked` or `profile.viewed`.
    Visit(Visit),
    /// `link.created`, `link.updated` or `link.deleted`.
    Link(Box<LinkChange>),
    /// `profile.updated`.
    Profile(Box<ProfileFields>),
    /// `analytics.milestone`.
    Milestone(Milestone),
    /// A type that this version does not know: archived and counted.
    Unknown {
        /// As the platform named it.
        event_type: EventType,
    },
    /// An event that cannot be counted as it stands: it goes to the dead letters.
    Unfit {
        /// Its type, canonical where known.
        event_type: EventType,
        /// As `missing_field:link_id`.
        reason: String,
    },
    /// Nothing happened: a receiver states which events it has promised.
    Statement(Box<Statement>),
}

/// The type of a [`Body::Statement`].
const STATEMENT: &str = "treehook.statement";

/// A click on a link or a view of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// Which of the two.
    pub kind: VisitKind,
    /// The profile that was visited.
    pub profile_id: ProfileId,
    /// Who visited, as a pseudonym.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<VisitorId>,
    /// ISO 3166-1 alpha-2 in upper case, or `unknown`.
    pub country: CompactString,
    /// A host, `direct` or `unknown`.
    pub referrer: CompactString,
    /// On what.
    pub device: Device,
    /// What the click says of the link itself (Dub).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Box<LinkFields>>,
}

/// Which of the two visits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitKind {
    /// A click, with its link.
    Click {
        /// The link that was clicked.
        link_id: LinkId,
    },
    /// A view.
    View,
}

/// A change of a link's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkChange {
    /// `created`, `updated` or `deleted`.
    pub change: LinkChangeKind,
    /// Whose link.
    pub profile_id: ProfileId,
    /// Which link.
    pub link_id: LinkId,
    /// What it is now; an update carries only what changed.
    pub fields: LinkFields,
}

/// What happened to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChangeKind {
    /// It came to be.
    Created,
    /// It changed.
    Updated,
    /// It is gone for good.
    Deleted,
}

impl LinkChangeKind {
    fn event_type(self) -> &'static str {
        match self {
            Self::Created => "link.created",
            Self::Updated => "link.updated",
            Self::Deleted => "link.deleted",
        }
    }
}

/// A link's fields, each there only if the event named it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFields {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its target; `Some(None)` when the one that was given is refused (CONTRACT.md section 4).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub url: Option<Option<String>>,
    /// `classic`, `header`, ... or a kind that nobody has heard of.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its place on the page, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// Whether visitors see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Its picture; `Some(None)` when the one that was given is refused.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub thumbnail: Option<Option<String>>,
    /// Since when it is like this, where an event brings a copy of the link and not a change of it
    /// (Dub's click): a copy is as old as the link's last change, whenever it is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// Tells a field that is null from one that is not there.
#[expect(clippy::option_option, reason = "absent, refused and given are three things")]
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A profile's fields, each there only if the event named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileFields {
    /// Which profile.
    pub profile_id: ProfileId,
    /// Its name in the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its name on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The text below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// Its picture; `Some(None)` when the one that was given is refused.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub avatar_url: Option<Option<String>>,
    /// Its look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
}

/// A threshold that a profile or a link has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    /// Whose.
    pub profile_id: ProfileId,
    /// Of which link; none means the whole profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_id: Option<LinkId>,
    /// `clicks` or `views`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The number that was to be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// The number when the platform looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
}

/// What an identity is stored under: 16 bytes of SHA-256 over source and identity. Short enough
/// for an index, long enough that two of 10^15 events meet once in 10^8 deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of an identity within its source.
    pub fn of(source: &SourceName, identity: &Identity) -> Self {
        let mut hash = Sha256::new();
        hash.update(source.as_str());
        hash.update(b"\0");
        hash.update(identity.as_str());
        let digest = hash.finalize();
        Self(*digest.first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

impl Event {
    /// What its identity is stored under.
    pub fn key(&self) -> Key {
        Key::of(&self.source, &self.identity)
    }

    /// Its canonical type, or the platform's own where there is none.
    pub fn event_type(&self) -> &str {
        match &self.body {
            Body::Visit(Visit { kind: VisitKind::Click { .. }, .. }) => "link.clicked",
            Body::Visit(Visit { kind: VisitKind::View, .. }) => "profile.viewed",
            Body::Link(change) => change.change.event_type(),
            Body::Profile(_) => "profile.updated",
            Body::Milestone(_) => "analytics.milestone",
            Body::Unknown { event_type } | Body::Unfit { event_type, .. } => event_type.as_str(),
            Body::Statement(_) => STATEMENT,
        }
    }

    /// Its type as a metric label: canonical, or `unknown`, so that strangers cannot name series.
    pub fn type_label(&self) -> &'static str {
        match &self.body {
            Body::Visit(Visit { kind: VisitKind::Click { .. }, .. }) => "link.clicked",
            Body::Visit(Visit { kind: VisitKind::View, .. }) => "profile.viewed",
            Body::Link(change) => change.change.event_type(),
            Body::Profile(_) => "profile.updated",
            Body::Milestone(_) => "analytics.milestone",
            Body::Unknown { .. } => "unknown",
            Body::Unfit { .. } => "unfit",
            Body::Statement(_) => STATEMENT,
        }
    }

    /// The profile it is about, where it names one.
    pub fn profile_id(&self) -> Option<&ProfileId> {
        match &self.body {
            Body::Visit(visit) => Some(&visit.profile_id),
            Body::Link(change) => Some(&change.profile_id),
            Body::Profile(fields) => Some(&fields.profile_id),
            Body::Milestone(milestone) => Some(&milestone.profile_id),
            Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => None,
        }
    }

    /// The link it is about, where it names one.
    pub fn link_id(&self) -> Option<&LinkId> {
        match &self.body {
            Body::Visit(Visit { kind: VisitKind::Click { link_id }, .. }) => Some(link_id),
            Body::Link(change) => Some(&change.link_id),
            Body::Milestone(milestone) => milestone.link_id.as_ref(),
            Body::Visit(Visit { kind: VisitKind::View, .. })
            | Body::Profile(_)
            | Body::Unknown { .. }
            | Body::Unfit { .. }
            | Body::Statement(_) => None,
        }
    }

    /// Whether any of its texts holds U+0000, which not every store can keep: a receiver of ours lets none through.
    pub(crate) fn holds_nul(&self) -> bool {
        let is_in = |text: &str| text.contains('\0');
        let in_some = |texts: &[Option<&str>]| texts.iter().flatten().any(|text| is_in(text));
        let in_link = |fields: &LinkFields| {
            let LinkFields { title, url, kind, thumbnail, .. } = fields;
            let urls = [url.as_ref(), thumbnail.as_ref()].map(|url| url?.as_deref());
            in_some(&[title.as_deref(), kind.as_deref()]) || in_some(&urls)
        };
        let ids = [self.profile_id().map(ProfileId::as_str), self.link_id().map(LinkId::as_str)];
        let in_body = match &self.body {
            Body::Visit(Visit { country, referrer, link, .. }) => {
                is_in(country) || is_in(referrer) || link.as_deref().is_some_and(in_link)
            }
            Body::Link(change) => in_link(&change.fields),
            Body::Profile(fields) => {
                let ProfileFields { username, display_name, bio, avatar_url, theme, .. } =
                    &**fields;
                in_some(&[username, display_name, bio, theme].map(Option::as_deref))
                    || in_some(&[avatar_url.as_ref().and_then(Option::as_deref)])
            }
            Body::Milestone(milestone) => in_some(&[milestone.metric.as_deref()]),
            Body::Unknown { event_type } => is_in(event_type.as_str()),
            // Those become no rows: dead letters replace it, and a statement is of numbers and names of ours.
            Body::Unfit { .. } | Body::Statement(_) => false,
        };
        in_body || in_some(&ids) || is_in(self.identity.as_str()) || is_in(self.source.as_str())
    }

    /// How many URLs it brought that are refused (CONTRACT.md section 4).
    pub fn refused_urls(&self) -> u64 {
        let of_link = |fields: &LinkFields| {
            u64::from(fields.url == Some(None)) + u64::from(fields.thumbnail == Some(None))
        };
        match &self.body {
            Body::Visit(visit) => visit.link.as_deref().map_or(0, of_link),
            Body::Link(change) => of_link(&change.fields),
            Body::Profile(fields) => u64::from(fields.avatar_url == Some(None)),
            Body::Milestone(_) | Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => {
                0
            }
        }
    }

    /// Why it goes to the dead letters instead of being counted, if it does (CONTRACT.md sections 2
    /// and 3). `retention_ms` is how long events are kept.
    pub fn unfit(&self, now: Timestamp, retention_ms: i64) -> Option<&str> {
        match &self.body {
            Body::Unfit { reason, .. } => return Some(reason),
            // It is about no time: however late it comes, it is true.
            Body::Statement(_) => return None,
            _ => (),
        }
        let age = now.millis_since(self.occurred_at);
        if age < -FUTURE_MAX {
            Some("future_timestamp")
        } else if age > retention_ms {
            Some("expired")
        } else {
            None
        }
    }

    /// A receiver's statement, on its way to the store. Its identity differs with each.
    pub fn stating(statement: Statement, now: Timestamp) -> Self {
        let counting = &statement.counting;
        let text = format!("{}.{}.{}", counting.receiver, counting.epoch, statement.version);
        Self {
            source: counting.source.clone(),
            identity: Identity::trusted(&text),
            occurred_at: now,
            received_at: now,
            entry: None,
            body: Body::Statement(Box::new(statement)),
            payload: "null".into(),
        }
    }

    /// What a dead letter is worth another try as: what could not be decoded is decoded again, since
    /// a newer version may be able to; everything else is itself.
    pub fn retried(self) -> Vec<Self> {
        let is_undecoded = matches!(&self.body, Body::Unfit { reason, .. }
            if reason.starts_with(UNDECODABLE));
        let original = is_undecoded.then(|| serde_json::from_str::<String>(&self.payload).ok());
        match original.flatten().map(|text| decode_batch(text.as_bytes())) {
            Some(Ok(events)) => events,
            Some(Err(_)) | None => vec![self],
        }
    }

    /// What arrives in place of a batch that cannot be decoded: one event that names the fault, so
    /// that it is buried like any other and nothing is dropped. Its payload is the batch as text.
    pub fn unreadable(bytes: &[u8], why: &str, now: Timestamp) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self {
            source: SourceName::trusted("unknown"),
            identity: Identity::of_bytes(bytes),
            occurred_at: now,
            received_at: now,
            entry: None,
            body: Body::Unfit {
                event_type: EventType::trusted("unknown"),
                reason: format!("{UNDECODABLE}:{why}"),
            },
            payload: serde_json::Value::from(text).to_string().into(),
        }
    }
}
