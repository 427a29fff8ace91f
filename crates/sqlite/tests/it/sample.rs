//! Events to test with, and a way into the files behind the crate's back.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use treehook_event::{
    Body, Device, Event, Identity, LinkChange, LinkChangeKind, LinkFields, LinkId, Milestone,
    ProfileFields, ProfileId, SourceName, Timestamp, Visit, VisitKind, VisitorId,
};

/// 2026-11-24T12:00:00Z.
pub(crate) fn noon() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-24T12:00:00Z").unwrap()
}

pub(crate) fn profile() -> ProfileId {
    ProfileId::trusted("studio")
}

pub(crate) fn link() -> LinkId {
    LinkId::trusted("shop")
}

fn event(identity: &str, occurred_at: Timestamp, body: Body) -> Event {
    Event {
        source: SourceName::trusted("linktree"),
        identity: Identity::trusted(identity),
        occurred_at,
        received_at: occurred_at,
        entry: None,
        body,
        payload: r#"{"a":1}"#.into(),
    }
}

fn visit(kind: VisitKind, visitor: u64) -> Body {
    Body::Visit(Visit {
        kind,
        profile_id: profile(),
        // Spread as pseudonyms are, and beyond what a signed integer holds.
        visitor: Some(VisitorId(visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        country: "DE".into(),
        referrer: "direct".into(),
        device: Device::Mobile,
        link: None,
    })
}

/// A click whose visitor is new.
pub(crate) fn click(number: u64, occurred_at: Timestamp) -> Event {
    let body = visit(VisitKind::Click { link_id: link() }, number);
    event(&format!("click-{number}"), occurred_at, body)
}

/// A view whose visitor is new.
pub(crate) fn view(number: u64, occurred_at: Timestamp) -> Event {
    event(&format!("view-{number}"), occurred_at, visit(VisitKind::View, number))
}

/// A title for the link.
pub(crate) fn titled(identity: &str, title: &str, occurred_at: Timestamp) -> Event {
    let body = Body::Link(Box::new(LinkChange {
        change: LinkChangeKind::Updated,
        profile_id: profile(),
        link_id: link(),
        fields: LinkFields { title: Some(title.to_owned()), ..LinkFields::default() },
    }));
    event(identity, occurred_at, body)
}

/// A name for the profile.
pub(crate) fn named(identity: &str, username: &str, occurred_at: Timestamp) -> Event {
    let body = Body::Profile(Box::new(ProfileFields {
        profile_id: profile(),
        username: Some(username.to_owned()),
        display_name: None,
        bio: None,
        avatar_url: None,
        theme: None,
    }));
    event(identity, occurred_at, body)
}

/// A milestone of the profile.
pub(crate) fn milestone(identity: &str, occurred_at: Timestamp) -> Event {
    let body = Body::Milestone(Milestone {
        profile_id: profile(),
        link_id: Some(link()),
        metric: Some("clicks".to_owned()),
        threshold: Some(100),
        value: Some(101),
    });
    event(identity, occurred_at, body)
}

/// The same visit by somebody else.
pub(crate) fn seen_by(mut event: Event, visitor: VisitorId) -> Event {
    if let Body::Visit(visit) = &mut event.body {
        visit.visitor = Some(visitor);
    }
    event
}

/// The same event of another profile.
pub(crate) fn of_profile(mut event: Event, profile: &str) -> Event {
    let profile_id = ProfileId::trusted(profile);
    match &mut event.body {
        Body::Visit(visit) => visit.profile_id = profile_id,
        Body::Link(change) => change.profile_id = profile_id,
        Body::Profile(fields) => fields.profile_id = profile_id,
        Body::Milestone(milestone) => milestone.profile_id = profile_id,
        Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => (),
    }
    event
}

/// The same event of another link.
pub(crate) fn of_link(mut event: Event, link: &str) -> Event {
    let link = LinkId::trusted(link);
    match &mut event.body {
        Body::Visit(Visit { kind: VisitKind::Click { link_id }, .. }) => *link_id = link,
        Body::Link(change) => change.link_id = link,
        Body::Milestone(milestone) => milestone.link_id = Some(link),
        Body::Visit(_)
        | Body::Profile(_)
        | Body::Unknown { .. }
        | Body::Unfit { .. }
        | Body::Statement(_) => (),
    }
    event
}

/// A connection of somebody else's to a file.
pub(crate) async fn intruder(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Runs statements on a file behind the crate's back.
pub(crate) async fn tamper(file: &Path, sql: &str) {
    let mut connection = intruder(file).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
