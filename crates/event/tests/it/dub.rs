//! Dub's event types, field by field (CONTRACT.md section 3).

use treehook_event::{
    Body, Device, Event, Identity, LinkChangeKind, LinkFields, LinkState, Scheme, Stamp, Timestamp,
    VisitKind,
};

use crate::setup::{complaint, context, event, source, unfit_reason};

const LINK: &str = r#"{"id":"link_1","domain":"a.link","key":"k","url":"https://shop.example/x",
    "title":"Shop","archived":false,"workspaceId":"ws_1","projectId":"old_1","tags":[],
    "image":"https://shop.example/i.png"}"#;

fn dub(event_type: &str, data: &str) -> Event {
    let body = format!(
        r#"{{"id":"evt_1","event":"{event_type}","createdAt":"2025-11-24T15:00:00.123Z",
        "data":{data}}}"#
    );
    event(&source(Scheme::dub()), body)
}

fn shop() -> LinkFields {
    LinkFields {
        title: Some("Shop".into()),
        url: Some(Some("https://shop.example/x".into())),
        enabled: Some(true),
        thumbnail: Some(Some("https://shop.example/i.png".into())),
        ..LinkFields::default()
    }
}

#[test]
fn a_click_is_a_visit_that_brings_its_link() {
    let click = r#"{"id":"c1","timestamp":"2025-11-24T14:30:00.5Z","url":"https://shop.example/x",
        "country":"FR","city":"Paris","device":"Mobile","browser":"Safari","os":"iOS",
        "referer":"t.co","refererUrl":"https://t.co/abc","qr":false,"ip":"203.0.113.9"}"#;
    let event = dub("link.clicked", &format!(r#"{{"click":{click},"link":{LINK}}}"#));
    assert_eq!(event.identity.as_str(), "evt_1");
    assert_eq!(event.occurred_at.to_rfc3339(), "2025-11-24T14:30:00.500Z");
    let Body::Visit(visit) = &event.body else { panic!("no visit: {event:?}") };
    assert!(matches!(&visit.kind, VisitKind::Click { link_id } if link_id.as_str() == "link_1"));
    assert_eq!(visit.profile_id.as_str(), "ws_1");
    assert_eq!((visit.country.as_str(), visit.referrer.as_str()), ("FR", "t.co"));
    assert_eq!(visit.device, Device::Mobile);
    assert_eq!(visit.visitor, Some(context().visitors.of_address("203.0.113.9", "Safari/iOS")));
    assert_eq!(visit.link, Some(shop().into()));
    assert!(!event.payload.contains("203.0.113.9") && event.payload.contains("Paris"));
}

#[test]
fn a_click_delivered_late_brings_a_copy_that_is_as_old_as_the_link() {
    let stamp = |at: &str, by: &str| Stamp {
        at: Timestamp::from_rfc3339(at).expect("a time"),
        by: Identity::given(by),
    };
    let copy = LinkFields {
        title: Some("old".into()),
        as_of: Timestamp::from_rfc3339("2025-11-20T00:00:00Z"),
        ..LinkFields::default()
    };
    let newer = LinkFields { title: Some("new".into()), ..LinkFields::default() };
    let mut state = LinkState::of_fields(&newer, &stamp("2025-11-21T00:00:00Z", "a"));
    state.merge(&LinkState::of_fields(&copy, &stamp("2025-11-22T00:00:00Z", "b")));
    assert_eq!(state.title.map(|title| title.value).as_deref(), Some("new"));
}

#[test]
fn referrers_and_missing_clicks_are_read_leniently() {
    for (click, referrer) in [
        (r#""click":{"referer":"(direct)","refererUrl":"(direct)"},"#, "direct"),
        (r#""click":{"refererUrl":"https://www.a.example/x"},"#, "a.example"),
        (r#""click":{},"#, "direct"),
        (r#""click":null,"#, "direct"),
        ("", "direct"),
    ] {
        let event = dub("link.clicked", &format!(r#"{{{click}"link":{LINK}}}"#));
        let Body::Visit(visit) = &event.body else { panic!("no visit: {event:?}") };
        assert_eq!(visit.referrer, referrer, "{click}");
        assert_eq!(visit.visitor, None);
        assert_eq!(event.occurred_at.to_rfc3339(), "2025-11-24T15:00:00.123Z", "the envelope's");
    }
}

#[test]
fn a_links_life_is_the_link_itself() {
    for (event_type, change, fields) in [
        ("link.created", LinkChangeKind::Created, shop()),
        ("link.updated", LinkChangeKind::Updated, shop()),
        ("link.deleted", LinkChangeKind::Deleted, LinkFields::default()),
    ] {
        let event = dub(event_type, LINK);
        let Body::Link(said) = &event.body else { panic!("no change: {event:?}") };
        assert_eq!((said.change, &said.fields), (change, &fields));
        assert_eq!((said.profile_id.as_str(), said.link_id.as_str()), ("ws_1", "link_1"));
        assert_eq!(event.type_label(), event_type);
    }
    let archived = dub("link.updated", &LINK.replace("false", "true"));
    assert!(matches!(archived.body, Body::Link(said) if said.fields.enabled == Some(false)));
}

#[test]
fn the_workspace_falls_back_to_the_project() {
    for link in [
        LINK.replace("workspaceId", "other"),
        LINK.replace(r#""workspaceId":"ws_1""#, r#""workspaceId":null"#),
    ] {
        let event = dub("link.created", &link);
        assert_eq!(event.profile_id().map(|id| id.as_str().to_owned()), Some("old_1".into()));
    }
}

#[test]
fn what_is_missing_is_named() {
    let no_owner = LINK.replace("workspaceId", "a").replace("projectId", "b");
    for (event_type, data, reason) in [
        ("link.clicked", "{}".to_owned(), "missing_field:link"),
        ("link.clicked", r#"{"link":null}"#.to_owned(), "missing_field:link"),
        ("link.clicked", format!(r#"{{"link":{no_owner}}}"#), "missing_field:profile_id"),
        ("link.created", no_owner.clone(), "missing_field:profile_id"),
        ("link.deleted", LINK.replace(r#""id""#, r#""no""#), "missing_field:link_id"),
    ] {
        assert_eq!(unfit_reason(&dub(event_type, &data)), reason, "{event_type} {data}");
    }
    let dub = source(Scheme::dub());
    for (body, says) in [
        (r#"{"event":"x","createdAt":"2025-11-24T15:00:00Z","data":{}}"#, "`id` is missing"),
        (
            r#"{"id":null,"event":"x","createdAt":"2025-11-24T15:00:00Z","data":{}}"#,
            "`id` is missing",
        ),
        (r#"{"id":"e","createdAt":"2025-11-24T15:00:00Z","data":{}}"#, "`event` is missing"),
        (r#"{"id":"e","event":"x","data":{}}"#, "`createdAt` is missing"),
    ] {
        assert!(complaint(&dub, body).contains(says), "{body}");
    }
}

#[test]
fn leads_and_sales_are_kept_without_their_customer() {
    for event_type in ["lead.created", "sale.created", "partner.enrolled", "profile.viewed"] {
        let data = r#"{"customer":{"id":"c1","externalId":"7","name":"Ann","email":"ann@a.example",
            "avatar":"https://a.example/ann.png"},"sale":{"amount":4200,"currency":"eur"},
            "click":{"ip":"203.0.113.9","country":"FR"}}"#;
        let event = dub(event_type, data);
        assert!(matches!(event.body, Body::Unknown { .. }), "{event_type}");
        assert_eq!((event.event_type(), event.type_label()), (event_type, "unknown"));
        for gone in ["Ann", "ann@", "ann.png", "203.0.113.9"] {
            assert!(!event.payload.contains(gone), "{gone}: {}", event.payload);
        }
        assert!(event.payload.contains("4200") && event.payload.contains("c1"));
    }
}
