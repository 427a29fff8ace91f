//! Linktree's `data`, made canonical (CONTRACT.md section 3).

use crate::derive::{country_of, device_of, title_of, url_of};
use crate::event::{
    Body, LinkChange, LinkChangeKind, LinkFields, Milestone, ProfileFields, Visit, VisitKind,
};
use crate::fields::Fields;
use crate::moment::Timestamp;
use crate::names::EventType;
use crate::privacy::VisitorKey;

/// Longest of the short texts that a profile or a link may carry, in characters.
const LONGEST_TEXT: usize = 500;

/// The canonical type, where there is one: Linktree's own names with their aliases.
pub(crate) fn canonical(event_type: &str) -> &str {
    match event_type {
        "link.click" => "link.clicked",
        "profile.view" => "profile.viewed",
        other => other,
    }
}

/// What happened, and when by the event's own account. `Err` is the reason of a dead letter.
pub(crate) fn body(
    event_type: &str,
    data: Fields<'_>,
    visitors: &VisitorKey,
) -> Result<(Body, Option<Timestamp>), String> {
    let at_envelope_time = |body| Ok((body, None));
    match canonical(event_type) {
        "link.clicked" => {
            let profile_id = data.profile_id(&["profile_id"])?;
            let kind = VisitKind::Click { link_id: data.link_id(&["link_id"])? };
            let visit = visit(kind, profile_id, data, visitors);
            Ok((Body::Visit(visit), data.moment(&["clicked_at"])))
        }
        "profile.viewed" => {
            let profile_id = data.profile_id(&["profile_id"])?;
            let visit = visit(VisitKind::View, profile_id, data, visitors);
            Ok((Body::Visit(visit), data.moment(&["viewed_at"])))
        }
        "link.created" => at_envelope_time(link(LinkChangeKind::Created, data)?),
        "link.updated" => at_envelope_time(link(LinkChangeKind::Updated, data)?),
        "link.deleted" => at_envelope_time(link(LinkChangeKind::Deleted, data)?),
        "profile.updated" => at_envelope_time(Body::Profile(Box::new(profile(data)?))),
        "analytics.milestone" => at_envelope_time(Body::Milestone(milestone(data)?)),
        _ => at_envelope_time(Body::Unknown { event_type: EventType::given(event_type) }),
    }
}

fn visit(
    kind: VisitKind,
    profile_id: crate::names::ProfileId,
    data: Fields<'_>,
    visitors: &VisitorKey,
) -> Visit {
    let user_agent = data.text(&["user_agent"]);
    Visit {
        kind,
        profile_id,
        visitor: visitors.visitor(
            data.token("visitor_id").as_deref(),
            data.token("ip").as_deref(),
            user_agent,
        ),
        country: country_of(data.text(&["country"])),
        referrer: data.referrer(&["referrer"]),
        device: device_of(data.text(&["device"]), user_agent),
        link: None,
    }
}

fn link(change: LinkChangeKind, data: Fields<'_>) -> Result<Body, String> {
    let fields = match change {
        LinkChangeKind::Deleted => LinkFields::default(),
        LinkChangeKind::Created | LinkChangeKind::Updated => LinkFields {
            title: data.text(&["title"]).map(title_of),
            url: data.text(&["url"]).map(url_of),
            kind: data.text(&["type"]).map(short_text),
            position: data.integer("position"),
            enabled: data
                .flag("enabled")
                .or_else(|| data.flag("active"))
                .or_else(|| data.flag("archived").map(|archived| !archived)),
            thumbnail: data.text(&["thumbnail", "thumbnail_url"]).map(url_of),
            as_of: None,
        },
    };
    Ok(Body::Link(Box::new(LinkChange {
        change,
        profile_id: data.profile_id(&["profile_id"])?,
        link_id: data.link_id(&["link_id", "id"])?,
        fields,
    })))
}

fn profile(data: Fields<'_>) -> Result<ProfileFields, String> {
    Ok(ProfileFields {
        profile_id: data.profile_id(&["profile_id"])?,
        username: data.text(&["username"]).map(short_text),
        display_name: data.text(&["display_name"]).map(title_of),
        bio: data.text(&["bio"]).map(short_text),
        avatar_url: data.text(&["avatar_url"]).map(url_of),
        theme: data.text(&["theme"]).map(short_text),
    })
}

fn milestone(data: Fields<'_>) -> Result<Milestone, String> {
    let profile_id = data.profile_id(&["profile_id"])?;
    let link_id = data.first(&["link_id"]).map(|_| data.link_id(&["link_id"])).transpose()?;
    Ok(Milestone {
        profile_id,
        link_id,
        metric: data.text(&["metric"]).map(short_text),
        threshold: data.integer("threshold"),
        value: data.integer("value"),
    })
}

/// Control characters removed, trimmed, bounded.
pub(crate) fn short_text(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    kept.trim().to_owned()
}
