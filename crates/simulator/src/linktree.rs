//! Happenings as Linktree's envelopes, which senders of Standard Webhooks use too.

use std::net::Ipv6Addr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::creator::Creator;
use crate::story::{Happening, What};
use crate::visitor::Visitor;

/// `id` is left out where the identity is the signed message id.
#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: &'static str,
    timestamp: String,
    data: D,
}

/// Most of the traffic, and so a struct where the others are put together by hand.
#[derive(Serialize)]
struct VisitData<'a> {
    profile_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<String>,
    ip: Ipv6Addr,
    user_agent: &'static str,
    country: Option<&'static str>,
    referrer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clicked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewed_at: Option<String>,
}

/// Appends the envelope.
pub(crate) fn render(
    out: &mut Vec<u8>,
    id: Option<&str>,
    happening: &Happening,
    creator: &Creator,
) {
    let own_at = || Some(happening.own_at.to_rfc3339());
    match happening.what {
        What::View { visitor, referrer } => {
            let visit = visit(creator, &visitor, referrer.url);
            let data = VisitData { viewed_at: own_at(), ..visit };
            write(out, id, "profile.viewed", happening, data);
        }
        What::Click { link, visitor, referrer } => {
            let link_id = Some(creator.links[link].id.as_str());
            let visit = visit(creator, &visitor, referrer.url);
            let data = VisitData { link_id, clicked_at: own_at(), ..visit };
            write(out, id, "link.clicked", happening, data);
        }
        what => {
            let (event_type, data) = rest(what, creator);
            write(out, id, event_type, happening, data);
        }
    }
}

fn write(
    out: &mut Vec<u8>,
    id: Option<&str>,
    event_type: &'static str,
    happening: &Happening,
    data: impl Serialize,
) {
    let envelope = Envelope { id, event_type, timestamp: happening.at.to_rfc3339(), data };
    serde_json::to_writer(out, &envelope).expect("memory takes every byte, and every key is text");
}

fn visit<'a>(creator: &'a Creator, visitor: &Visitor, referrer: &'static str) -> VisitData<'a> {
    VisitData {
        profile_id: &creator.id,
        link_id: None,
        visitor_id: visitor.visitor_id(),
        ip: visitor.ip(),
        user_agent: visitor.browser.user_agent,
        country: visitor.country,
        referrer,
        device: visitor.device(),
        clicked_at: None,
        viewed_at: None,
    }
}

/// Everything but visits. An update carries only what changed.
fn rest(what: What, creator: &Creator) -> (&'static str, Value) {
    let profile_id = &creator.id;
    match what {
        What::LinkCreated { link } => {
            let link = &creator.links[link];
            let data = json!({
                "profile_id": profile_id, "link_id": link.id, "title": link.title, "url": link.url,
                "type": link.kind, "position": link.position, "enabled": true,
                "thumbnail": format!("https://images.example/{}.png", link.id),
            });
            ("link.created", data)
        }
        What::LinkRetitled { link } => {
            let link = &creator.links[link];
            let data = json!({"profile_id": profile_id, "link_id": link.id, "title": link.title});
            ("link.updated", data)
        }
        What::LinkMoved { link } => {
            let link = &creator.links[link];
            let data = json!({"profile_id": profile_id, "link_id": link.id, "url": link.url});
            ("link.updated", data)
        }
        What::LinkDeleted { link } => {
            let data = json!({"profile_id": profile_id, "link_id": creator.links[link].id});
            ("link.deleted", data)
        }
        What::ProfileUpdated => {
            let data = json!({
                "profile_id": profile_id, "username": creator.username,
                "display_name": creator.display_name, "bio": creator.bio, "theme": creator.theme,
            });
            ("profile.updated", data)
        }
        What::Milestone { link, metric, threshold } => {
            let link_id = link.map(|link| &creator.links[link].id);
            let data = json!({
                "profile_id": profile_id, "link_id": link_id, "metric": metric,
                "threshold": threshold, "value": threshold,
            });
            ("analytics.milestone", data)
        }
        What::View { .. } | What::Click { .. } | What::Lead { .. } => {
            unreachable!("visits are written apart, and leads are Dub's alone")
        }
    }
}
