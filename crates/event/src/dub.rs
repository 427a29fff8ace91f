//! Dub's `data`, made canonical (CONTRACT.md section 3).

use crate::derive::{country_of, device_of, title_of, url_of};
use crate::event::{Body, LinkChange, LinkChangeKind, LinkFields, Visit, VisitKind};
use crate::fields::Fields;
use crate::moment::Timestamp;
use crate::names::{EventType, LinkId, ProfileId};
use crate::node::Object;
use crate::privacy::VisitorKey;

/// What happened, and when by the event's own account. `Err` is the reason of a dead letter.
pub(crate) fn body(
    event_type: &str,
    data: Fields<'_>,
    visitors: &VisitorKey,
) -> Result<(Body, Option<Timestamp>), String> {
    let change = match event_type {
        "link.clicked" => return clicked(data, visitors),
        "link.created" => LinkChangeKind::Created,
        "link.updated" => LinkChangeKind::Updated,
        "link.deleted" => LinkChangeKind::Deleted,
        _ => return Ok((Body::Unknown { event_type: EventType::given(event_type) }, None)),
    };
    let (profile_id, link_id) = names(data)?;
    let fields = match change {
        LinkChangeKind::Deleted => LinkFields::default(),
        LinkChangeKind::Created | LinkChangeKind::Updated => fields(data),
    };
    Ok((Body::Link(Box::new(LinkChange { change, profile_id, link_id, fields })), None))
}

fn clicked(data: Fields<'_>, visitors: &VisitorKey) -> Result<(Body, Option<Timestamp>), String> {
    let link = data.object("link").ok_or("missing_field:link")?;
    let (profile_id, link_id) = names(link)?;
    // Everything about the visitor is optional, as in Linktree's click.
    let nothing = Object::default();
    let click = data.object("click").unwrap_or(Fields(&nothing));
    let browser = [click.text(&["browser"]), click.text(&["os"])];
    let browser = browser.map(Option::unwrap_or_default).join("/");
    let visit = Visit {
        kind: VisitKind::Click { link_id },
        profile_id,
        visitor: visitors.visitor(None, click.token("ip").as_deref(), Some(&browser)),
        country: country_of(click.text(&["country"])),
        // `referer` is a host or `(direct)`, `refererUrl` the whole address.
        referrer: click.referrer(&["referer", "refererUrl"]),
        device: device_of(click.text(&["device"]), click.text(&["ua"])),
        link: Some(Box::new(LinkFields { as_of: link.moment(&["updatedAt"]), ..fields(link) })),
    };
    Ok((Body::Visit(visit), click.moment(&["timestamp"])))
}

fn names(link: Fields<'_>) -> Result<(ProfileId, LinkId), String> {
    Ok((link.profile_id(&["workspaceId", "projectId"])?, link.link_id(&["id"])?))
}

fn fields(link: Fields<'_>) -> LinkFields {
    LinkFields {
        title: link.text(&["title"]).map(title_of),
        url: link.text(&["url"]).map(url_of),
        kind: None,
        position: None,
        enabled: link.flag("archived").map(|archived| !archived),
        thumbnail: link.text(&["image"]).map(url_of),
        as_of: None,
    }
}
