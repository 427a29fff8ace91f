//! Linktree's event types and aliases, field by field (CONTRACT.md section 3).

use treehook_event::{
    Body, Device, Event, LinkChange, LinkChangeKind, LinkFields, LinkId, Milestone, ProfileFields,
    ProfileId, Scheme, Visit, VisitKind,
};

use crate::setup::{context, event, source, unfit_reason};

fn linktree(event_type: &str, data: &str) -> Event {
    let body =
        format!(r#"{{"type":"{event_type}","timestamp":"2025-11-24T15:00:00Z","data":{data}}}"#);
    event(&source(Scheme::linktree()), body)
}

fn profile_id() -> ProfileId {
    ProfileId::new("p1").expect("an id")
}

fn link_id() -> LinkId {
    LinkId::new("l1").expect("an id")
}

fn visit_of(event: &Event) -> &Visit {
    match &event.body {
        Body::Visit(visit) => visit,
        other => panic!("no visit: {other:?}"),
    }
}

fn link_fields(event_type: &str, data: &str) -> LinkFields {
    match linktree(event_type, data).body {
        Body::Link(change) => change.fields,
        other => panic!("no link change: {other:?}"),
    }
}

#[test]
fn clicks_and_views_are_visits_by_either_name() {
    let data = r#"{"profile_id":"p1","link_id":"l1","visitor_id":"v1","ip":"203.0.113.9",
        "user_agent":"Mozilla/5.0 (iPhone) Mobile","country":"de","referrer":"https://www.T.co/x",
        "device":"Desktop"}"#;
    let visitor = Some(context().visitors.of_visitor_id("v1"));
    for (event_type, canonical, kind) in [
        ("link.clicked", "link.clicked", VisitKind::Click { link_id: link_id() }),
        ("link.click", "link.clicked", VisitKind::Click { link_id: link_id() }),
        ("profile.viewed", "profile.viewed", VisitKind::View),
        ("profile.view", "profile.viewed", VisitKind::View),
    ] {
        let event = linktree(event_type, data);
        assert_eq!((event.event_type(), event.type_label()), (canonical, canonical));
        let expected = Visit {
            kind,
            profile_id: profile_id(),
            visitor,
            country: "DE".into(),
            referrer: "t.co".into(),
            device: Device::Desktop,
            link: None,
        };
        assert_eq!(visit_of(&event), &expected);
    }
}

#[test]
fn every_optional_field_of_a_visit_may_be_null_absent_or_nonsense() {
    let absent = r#"{"profile_id":"p1","link_id":"l1"}"#;
    let null = r#"{"profile_id":"p1","link_id":"l1","visitor_id":null,"ip":null,"user_agent":null,
        "country":null,"referrer":null,"device":null,"clicked_at":null}"#;
    let nonsense = r#"{"profile_id":"p1","link_id":"l1","visitor_id":{},"ip":[],"user_agent":7,
        "country":false,"referrer":{},"device":[1],"clicked_at":{}}"#;
    // A referrer that is no text is a hostile one.
    for (data, referrer) in [(absent, "direct"), (null, "direct"), (nonsense, "unknown")] {
        let event = linktree("link.clicked", data);
        let visit = visit_of(&event);
        assert_eq!(visit.visitor, None);
        assert_eq!((visit.country.as_str(), visit.referrer.as_str()), ("unknown", referrer));
        assert_eq!(visit.device, Device::Unknown);
    }
}

#[test]
fn a_visitor_is_the_id_else_address_and_browser() {
    let visitors = context().visitors;
    for (fields, visitor) in [
        (r#""visitor_id":"v","ip":"1","user_agent":"b""#, Some(visitors.of_visitor_id("v"))),
        (r#""ip":"1","user_agent":"b""#, Some(visitors.of_address("1", "b"))),
        (r#""visitor_id":null,"ip":"1""#, Some(visitors.of_address("1", ""))),
        (r#""visitor_id":1000"#, Some(visitors.of_visitor_id("1000"))),
        (r#""visitor_id":" ","ip":"1","user_agent":"b""#, Some(visitors.of_address("1", "b"))),
        (r#""visitor_id":"","ip":"","user_agent":"b""#, None),
        (r#""user_agent":"b""#, None),
    ] {
        let event = linktree("profile.viewed", &format!(r#"{{"profile_id":"p1",{fields}}}"#));
        assert_eq!(visit_of(&event).visitor, visitor, "{fields}");
    }
}

#[test]
fn link_changes_carry_what_they_name() {
    let data = r#"{"profile_id":"p1","link_id":"l1","title":"<b>Shop</b>","url":"https://a.example/",
        "type":"commerce","position":3,"enabled":true,"thumbnail":"https://a.example/t.png"}"#;
    let fields = LinkFields {
        title: Some("Shop".into()),
        url: Some(Some("https://a.example/".into())),
        kind: Some("commerce".into()),
        position: Some(3),
        enabled: Some(true),
        thumbnail: Some(Some("https://a.example/t.png".into())),
        as_of: None,
    };
    for (event_type, change, fields) in [
        ("link.created", LinkChangeKind::Created, fields.clone()),
        ("link.updated", LinkChangeKind::Updated, fields),
        ("link.deleted", LinkChangeKind::Deleted, LinkFields::default()),
    ] {
        let event = linktree(event_type, data);
        assert_eq!((event.event_type(), event.type_label()), (event_type, event_type));
        let expected = LinkChange { change, profile_id: profile_id(), link_id: link_id(), fields };
        assert_eq!(event.body, Body::Link(expected.into()));
    }
}

#[test]
fn link_fields_have_aliases_and_null_is_absent() {
    let with = |fields: &str| {
        link_fields("link.updated", &format!(r#"{{"profile_id":"p1","id":"l1",{fields}}}"#))
    };
    for (fields, enabled) in [
        (r#""enabled":true"#, Some(true)),
        (r#""active":false"#, Some(false)),
        (r#""archived":true"#, Some(false)),
        (r#""archived":false"#, Some(true)),
        (r#""enabled":null,"active":true"#, Some(true)),
        (r#""enabled":false,"active":true,"archived":false"#, Some(false)),
        (r#""enabled":"yes""#, None),
        (r#""enabled":null"#, None),
    ] {
        assert_eq!(with(fields).enabled, enabled, "{fields}");
    }
    let thumbnail = with(r#""thumbnail_url":"https://a.example/t.png""#).thumbnail;
    assert_eq!(thumbnail, Some(Some("https://a.example/t.png".into())));
    let nulls = r#""title":null,"url":null,"type":null,"position":null,"thumbnail":null"#;
    assert_eq!(with(nulls), LinkFields::default());
    let strange = with(r#""type":"hologram","position":"7","url":"javascript:alert(1)""#);
    assert_eq!((strange.kind.as_deref(), strange.position), (Some("hologram"), Some(7)));
    assert_eq!(strange.url, Some(None), "refused, and known to be");
}

#[test]
fn refused_urls_are_counted() {
    let bad = r#""url":"javascript:x","thumbnail":"data:x""#;
    let link = linktree("link.created", &format!(r#"{{"profile_id":"p1","id":"l1",{bad}}}"#));
    assert_eq!(link.refused_urls(), 2);
    let profile = linktree("profile.updated", r#"{"profile_id":"p1","avatar_url":"ftp://x"}"#);
    assert_eq!(profile.refused_urls(), 1);
    let fine = r#"{"profile_id":"p1","id":"l1","url":"https://a.example"}"#;
    assert_eq!(linktree("link.created", fine).refused_urls(), 0);
}

#[test]
fn a_profile_update_carries_what_it_names() {
    let data = r#"{"profile_id":"p1","username":"ann","display_name":" <i>Ann</i> ","bio":"hi\u0000",
        "avatar_url":"https://a.example/a.png","theme":null}"#;
    let expected = ProfileFields {
        profile_id: profile_id(),
        username: Some("ann".into()),
        display_name: Some("Ann".into()),
        bio: Some("hi".into()),
        avatar_url: Some(Some("https://a.example/a.png".into())),
        theme: None,
    };
    let event = linktree("profile.updated", data);
    assert_eq!(event.body, Body::Profile(expected.into()));
    assert_eq!(event.type_label(), "profile.updated");
}

#[test]
fn a_milestone_is_of_a_profile_or_of_a_link() {
    let expected = |link_id, threshold| Milestone {
        profile_id: profile_id(),
        link_id,
        metric: Some("clicks".into()),
        threshold,
        value: Some(1003),
    };
    let common = r#""profile_id":"p1","metric":"clicks","value":1003"#;
    for (data, milestone) in [
        (format!(r#"{{{common},"threshold":1000}}"#), expected(None, Some(1000))),
        (format!(r#"{{{common},"link_id":null,"threshold":"1000"}}"#), expected(None, Some(1000))),
        (format!(r#"{{{common},"link_id":"l1"}}"#), expected(Some(link_id()), None)),
    ] {
        let event = linktree("analytics.milestone", &data);
        assert_eq!(event.body, Body::Milestone(milestone));
        assert_eq!(event.type_label(), "analytics.milestone");
    }
}

#[test]
fn a_missing_bold_field_is_a_dead_letter_that_names_it() {
    for (event_type, data, reason) in [
        ("link.clicked", r#"{"link_id":"l1"}"#, "missing_field:profile_id"),
        ("link.click", r#"{"profile_id":"p1"}"#, "missing_field:link_id"),
        ("link.clicked", r#"{"profile_id":"p1","link_id":null}"#, "missing_field:link_id"),
        ("link.clicked", r#"{"profile_id":"p1","link_id":" "}"#, "missing_field:link_id"),
        ("link.clicked", r#"{"profile_id":"p1","id":"l1"}"#, "missing_field:link_id"),
        ("link.clicked", r#"{"profile_id":"p1","link_id":{}}"#, "invalid_field:link_id"),
        ("link.clicked", r#"{"profile_id":"p\u0000","link_id":"l"}"#, "invalid_field:profile_id"),
        ("profile.viewed", "{}", "missing_field:profile_id"),
        ("profile.view", "{}", "missing_field:profile_id"),
        ("link.created", r#"{"profile_id":"p1"}"#, "missing_field:link_id"),
        ("link.updated", r#"{"link_id":"l1"}"#, "missing_field:profile_id"),
        ("link.deleted", r#"{"profile_id":"p1"}"#, "missing_field:link_id"),
        ("profile.updated", "{}", "missing_field:profile_id"),
        ("analytics.milestone", r#"{"link_id":"l1"}"#, "missing_field:profile_id"),
    ] {
        let event = linktree(event_type, data);
        assert_eq!(unfit_reason(&event), reason, "{event_type} {data}");
        assert_eq!(event.type_label(), "unfit");
        let canonical = ["link.clicked", "profile.viewed"];
        if !canonical.contains(&event.event_type()) {
            assert_eq!(event.event_type(), event_type, "canonical all the same");
        }
    }
    for (data, id) in [(r#"{"profile_id":7}"#, "7"), (r#"{"profile_id":"7"}"#, "7")] {
        let event = linktree("profile.viewed", data);
        assert_eq!(event.profile_id().map(ProfileId::as_str), Some(id), "{data}");
    }
}

#[test]
fn an_unknown_type_is_kept_by_its_name() {
    for (event_type, name) in [
        ("subscription.renewed", "subscription.renewed"),
        ("x\\u0007y", "xy"),
        ("\\u0007", "unknown"),
    ] {
        let event = linktree(event_type, r#"{"anything":[1,{"a":"b"}]}"#);
        assert!(matches!(event.body, Body::Unknown { .. }));
        assert_eq!((event.event_type(), event.type_label()), (name, "unknown"));
        assert_eq!(&*event.payload, r#"{"anything":[1,{"a":"b"}]}"#);
    }
}
