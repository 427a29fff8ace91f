//! Events that cannot be counted as they stand, kept with their reason until somebody decides.

use serde_json::Value;

use crate::cloudevents::encode_event;
use crate::event::{Event, Key};
use crate::ledger::Entry;
use crate::moment::Timestamp;
use crate::names::{EventType, Identity, ProfileId, SourceName};

/// Longest reason kept, in characters.
const LONGEST_REASON: usize = 200;

/// One dead letter. The same event buried again raises `attempts` and `last_at`, also after a
/// redrive.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Who sent the event.
    pub source: SourceName,
    /// Its identity.
    pub identity: Identity,
    /// Its type.
    pub event_type: EventType,
    /// The profile that it names, be it in its payload alone.
    pub profile_id: Option<ProfileId>,
    /// As `missing_field:link_id`, `future_timestamp`, `expired`, `delivery_limit`.
    pub reason: String,
    /// The event time.
    pub occurred_at: Timestamp,
    /// When it was buried first.
    pub first_at: Timestamp,
    /// When it was buried last.
    pub last_at: Timestamp,
    /// How often it was buried.
    pub attempts: u32,
    /// The event itself, in CloudEvents' JSON format: what redrive publishes again.
    pub event: String,
    /// Its place in the ledger, which burying settles. Not kept: a redriven event has none, since
    /// nobody was promised anything new.
    pub entry: Option<Entry>,
}

impl DeadLetter {
    /// Buries an event, once, now.
    pub fn of(event: &Event, reason: &str, now: Timestamp) -> Self {
        Self {
            source: event.source.clone(),
            identity: event.identity.clone(),
            event_type: EventType::given(event.event_type()),
            profile_id: event.profile_id().cloned().or_else(|| profile_named_in(&event.payload)),
            reason: reason.chars().take(LONGEST_REASON).collect(),
            occurred_at: event.occurred_at,
            first_at: now,
            last_at: now,
            attempts: 1,
            event: encode_event(&Event { entry: None, ..event.clone() }),
            entry: event.entry,
        }
    }

    /// What it is stored under.
    pub fn key(&self) -> Key {
        Key::of(&self.source, &self.identity)
    }

    /// What people call it by: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        hex::encode(self.key().0)
    }

    /// The reason as a metric label: what stands before the colon, of the reasons we give.
    pub fn reason_label(&self) -> &'static str {
        reason_label(&self.reason)
    }
}

/// The profile that a payload names: an event that lacks something else, or is of a type that nobody
/// knows, has no body to tell of it.
pub fn profile_named_in(payload: &str) -> Option<ProfileId> {
    let data: Value = serde_json::from_str(payload).ok()?;
    let named = [data.get("profile_id"), data.pointer("/link/workspaceId")].into_iter().chain([
        data.pointer("/link/projectId"),
        data.get("workspaceId"),
        data.get("projectId"),
    ]);
    named.flatten().find_map(|id| match id {
        Value::String(id) => ProfileId::new(id).ok(),
        Value::Number(id) => ProfileId::new(&id.to_string()).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// What stands in [`REASON_LABELS`] for a reason that is none of ours.
const OTHER: &str = "other";

/// Every label that [`DeadLetter::reason_label`] gives.
pub const REASON_LABELS: [&str; 9] = [
    "missing_field",
    "invalid_field",
    "future_timestamp",
    "expired",
    "undecodable",
    "delivery_limit",
    "constraint",
    "invalid_data",
    OTHER,
];

/// A reason as a metric label, so that nobody else can name series.
fn reason_label(reason: &str) -> &'static str {
    let head = reason.split(':').next().unwrap_or_default();
    REASON_LABELS.into_iter().find(|known| *known == head).unwrap_or(OTHER)
}

/// Which dead letters are meant. Every field that is there narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// The whole reason, or what stands before its colon.
    pub reason: Option<String>,
    /// The source's name.
    pub source: Option<String>,
    /// The event type.
    pub event_type: Option<String>,
    /// The profile that the event names.
    pub profile: Option<String>,
    /// Buried last at or before this.
    pub last_before: Option<Timestamp>,
    /// Buried last at or after this.
    pub last_after: Option<Timestamp>,
    /// Ids, as [`DeadLetter::id`] writes them; empty means all.
    pub ids: Vec<Key>,
    /// Continue after this one, in order of key.
    pub after: Option<Key>,
    /// At most this many.
    pub limit: u32,
}

impl Key {
    /// 32 hexadecimal digits, as [`DeadLetter::id`] writes them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}
