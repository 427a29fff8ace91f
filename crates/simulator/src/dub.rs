//! Happenings as Dub's envelopes: links and clicks, and now and then a lead.

use std::net::Ipv6Addr;

use serde::Serialize;
use serde_json::json;
use treehook_event::Timestamp;

use crate::catalog::Referrer;
use crate::creator::{Creator, Link};
use crate::story::{Happening, What};
use crate::visitor::Visitor;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, D> {
    id: &'a str,
    event: &'static str,
    created_at: String,
    data: D,
}

#[derive(Serialize)]
struct Clicked<'a> {
    click: Click<'a>,
    link: LinkData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Click<'a> {
    id: String,
    timestamp: String,
    url: &'a str,
    country: Option<&'static str>,
    city: Option<&'static str>,
    device: &'static str,
    browser: &'static str,
    os: &'static str,
    referer: &'static str,
    referer_url: &'static str,
    qr: bool,
    ip: Ipv6Addr,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkData<'a> {
    id: &'a str,
    domain: &'static str,
    key: &'static str,
    url: &'a str,
    title: &'a str,
    archived: bool,
    workspace_id: &'a str,
    tags: [&'static str; 0],
    clicks: u64,
    created_at: String,
    updated_at: String,
}

/// Appends the envelope.
pub(crate) fn render(out: &mut Vec<u8>, id: &str, happening: &Happening, creator: &Creator) {
    let at = happening.at;
    let link = |link: usize| link_data(creator, &creator.links[link]);
    match happening.what {
        What::Click { link: index, visitor, referrer } => {
            let link = link(index);
            let data = Clicked { click: click(happening, &visitor, referrer, link.url), link };
            write(out, id, "link.clicked", at, data);
        }
        What::LinkCreated { link: index } => write(out, id, "link.created", at, link(index)),
        What::LinkRetitled { link: index } | What::LinkMoved { link: index } => {
            write(out, id, "link.updated", at, link(index));
        }
        What::LinkDeleted { link: index } => write(out, id, "link.deleted", at, link(index)),
        What::Lead { link: index, visitor } => {
            // Made up, and at a domain that is reserved for examples.
            let person = format!("visitor-{:x}", visitor.number);
            let data = json!({
                "eventName": "Sign up",
                "customer": {"id": person, "name": person, "email": format!("{person}@example.com")},
                "link": link(index),
            });
            write(out, id, "lead.created", at, data);
        }
        What::View { .. } | What::ProfileUpdated | What::Milestone { .. } => {
            unreachable!("the story tells none of these where the platform is Dub")
        }
    }
}

fn write(out: &mut Vec<u8>, id: &str, event: &'static str, at: Timestamp, data: impl Serialize) {
    let envelope = Envelope { id, event, created_at: at.to_rfc3339(), data };
    serde_json::to_writer(out, &envelope).expect("memory takes every byte, and every key is text");
}

fn click<'a>(
    happening: &Happening,
    visitor: &Visitor,
    referrer: &'static Referrer,
    url: &'a str,
) -> Click<'a> {
    Click {
        id: format!("click_{:x}", happening.number),
        timestamp: happening.own_at.to_rfc3339(),
        url,
        country: visitor.country,
        city: None,
        device: match visitor.browser.device {
            "mobile" => "Mobile",
            "tablet" => "Tablet",
            _ => "Desktop",
        },
        browser: visitor.browser.name,
        os: visitor.browser.os,
        referer: referrer.host.unwrap_or("(direct)"),
        referer_url: referrer.host.map_or("(direct)", |_| referrer.url),
        qr: false,
        ip: visitor.ip(),
    }
}

fn link_data<'a>(creator: &'a Creator, link: &'a Link) -> LinkData<'a> {
    LinkData {
        id: &link.id,
        domain: "links.example",
        key: link.slug,
        url: &link.url,
        title: &link.title,
        archived: false,
        workspace_id: &creator.id,
        tags: [],
        clicks: link.clicks,
        created_at: link.created_at.to_rfc3339(),
        updated_at: link.changed_at.to_rfc3339(),
    }
}
