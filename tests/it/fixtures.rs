//! Events to record and envelopes to send.

use serde_json::{Value, json};
use treehook_event::{
    Body, Device, Event, EventType, Identity, LinkChange, LinkChangeKind, LinkFields, LinkId,
    ProfileFields, ProfileId, SourceName, Timestamp, Visit, VisitKind, VisitorId,
};

/// Noon of a fixed day: 2026-11-20T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_176_000_000;
/// Milliseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000;
/// Milliseconds of a day.
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) fn profile(id: &str) -> ProfileId {
    ProfileId::new(id).unwrap()
}

pub(crate) fn link(id: &str) -> LinkId {
    LinkId::new(id).unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Any event.
pub(crate) fn event(identity: &str, millis: i64, body: Body) -> Event {
    Event {
        source: SourceName::new("linktree").unwrap(),
        identity: Identity::given(identity),
        occurred_at: at(millis),
        received_at: at(millis),
        entry: None,
        body,
        payload: r#"{"kept":"as it came"}"#.into(),
    }
}

fn visit(kind: VisitKind, profile_id: &str, visitor: u64) -> Body {
    Body::Visit(Visit {
        kind,
        profile_id: profile(profile_id),
        visitor: Some(VisitorId(visitor)),
        country: "DE".into(),
        referrer: "instagram.com".into(),
        device: Device::Mobile,
        link: None,
    })
}

/// A click by a visitor.
pub(crate) fn click(
    identity: &str,
    profile_id: &str,
    link_id: &str,
    visitor: u64,
    millis: i64,
) -> Event {
    let kind = VisitKind::Click { link_id: link(link_id) };
    event(identity, millis, visit(kind, profile_id, visitor))
}

/// A view by a visitor.
pub(crate) fn view(identity: &str, profile_id: &str, visitor: u64, millis: i64) -> Event {
    event(identity, millis, visit(VisitKind::View, profile_id, visitor))
}

/// A change of a link.
pub(crate) fn change(
    identity: &str,
    kind: LinkChangeKind,
    link_id: &str,
    fields: LinkFields,
    millis: i64,
) -> Event {
    let change =
        LinkChange { change: kind, profile_id: profile("p"), link_id: link(link_id), fields };
    event(identity, millis, Body::Link(change.into()))
}

/// A title and nothing else.
pub(crate) fn titled(title: &str) -> LinkFields {
    LinkFields { title: Some(title.into()), ..LinkFields::default() }
}

/// A change of a profile.
pub(crate) fn renamed(identity: &str, name: &str, millis: i64) -> Event {
    let fields = ProfileFields {
        profile_id: profile("p"),
        username: Some(name.into()),
        display_name: None,
        bio: None,
        avatar_url: None,
        theme: None,
    };
    event(identity, millis, Body::Profile(fields.into()))
}

/// An event of a type that nobody knows.
pub(crate) fn unknown(identity: &str, millis: i64) -> Event {
    event(identity, millis, Body::Unknown { event_type: EventType::given("tip.received") })
}

/// An event that cannot be counted.
pub(crate) fn unfit(identity: &str, millis: i64) -> Event {
    let event_type = EventType::given("link.clicked");
    event(identity, millis, Body::Unfit { event_type, reason: "missing_field:link_id".into() })
}

/// A click as Linktree sends it, now.
pub(crate) fn click_envelope(id: &str, profile_id: &str, link_id: &str, visitor: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!({
        "id": id, "type": "link.clicked", "timestamp": now.as_secs(),
        "data": {
            "profile_id": profile_id, "link_id": link_id, "visitor_id": visitor, "country": "de",
            "ip": "203.0.113.77", "user_agent": "Mozilla/5.0 (iPhone; marker-browser)",
            "referrer": "https://www.instagram.com/x",
        }
    })
}
