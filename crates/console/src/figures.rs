//! Figures: what the store's rows come to, with those of the period before beside them where asked.

use std::collections::HashMap;

use serde::Serialize;
use treehook_event::{EventStore, Granularity, HourCount, LinkReport, LinkSort, Period, ProfileId};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::window::{Bounds, Window, bounds, day_bounds};

/// Whose figures, and of when.
#[derive(Serialize, ToSchema)]
pub(crate) struct Span {
    /// Whose.
    pub(crate) profile_id: String,
    /// The zone whose midnight cuts days.
    pub(crate) tz: String,
    #[serde(flatten)]
    pub(crate) bounds: Bounds,
}

impl Span {
    pub(crate) fn of(profile: &ProfileId, window: &Window) -> Self {
        Self {
            profile_id: profile.to_string(),
            tz: window.zone.name().to_owned(),
            bounds: bounds(window.period.from, window.period.to),
        }
    }
}

/// The whole UTC days that visitors are counted over: all those that the period touches, which may
/// be more than the period.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct VisitorDays {
    /// First moment of the first UTC day that `unique_visitors` counts.
    #[schema(format = "date-time")]
    unique_visitors_from: String,
    /// End of the last one, exclusive.
    #[schema(format = "date-time")]
    unique_visitors_to: String,
}

impl VisitorDays {
    pub(crate) fn of(period: Period) -> Self {
        let Bounds { start, end } = day_bounds(period);
        Self { unique_visitors_from: start, unique_visitors_to: end }
    }
}

/// A profile's totals.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// Views of the profile.
    pub(crate) views: u64,
    /// Clicks on its links.
    pub(crate) clicks: u64,
    /// Clicks per view; null without views.
    pub(crate) ctr: Option<f64>,
    /// Distinct visitors; approximate above 100.
    pub(crate) unique_visitors: u64,
    #[serde(flatten)]
    pub(crate) visitor_days: VisitorDays,
}

/// The totals of the period before.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct PreviousTotals {
    #[serde(flatten)]
    bounds: Bounds,
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

/// Totals of a period, and the hours they are made of.
pub(crate) async fn totals<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    period: Period,
) -> Result<(Totals, Vec<HourCount>), Problem> {
    let hours = store.hours(profile, period.from, period.to).await?;
    let (first, end) = period.days();
    let visitors = store.profile_visitors(profile, first, end).await?;
    let sum = treehook_event::analytics(profile, period, Granularity::Daily, &hours, &visitors);
    let totals = Totals {
        views: sum.views,
        clicks: sum.clicks,
        ctr: sum.ctr,
        unique_visitors: sum.unique_visitors,
        visitor_days: VisitorDays::of(period),
    };
    Ok((totals, hours))
}

/// Totals of the period before, where it was asked for.
pub(crate) async fn previous_totals<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    window: &Window,
) -> Result<Option<PreviousTotals>, Problem> {
    let Some(period) = window.previous else { return Ok(None) };
    let (totals, _) = totals(store, profile, period).await?;
    Ok(Some(PreviousTotals { bounds: bounds(period.from, period.to), totals }))
}

/// A link and its figures.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct RankedLink {
    /// Its id.
    pub(crate) link_id: String,
    /// Its title, if any event told.
    pub(crate) title: Option<String>,
    /// Its target, if any event told one that is `http` or `https`.
    pub(crate) url: Option<String>,
    /// Its kind, if any event told.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// Whether it is gone.
    pub(crate) deleted: bool,
    #[serde(flatten)]
    pub(crate) figures: LinkFigures,
    /// The same of the period before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<LinkFigures>,
}

/// What a link came to.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct LinkFigures {
    /// Clicks in the period.
    pub(crate) clicks: u64,
    /// Distinct visitors, over the UTC days that the period touches; approximate above 100.
    pub(crate) unique_visitors: u64,
    /// Clicks per view of the profile; null without views.
    pub(crate) ctr: Option<f64>,
}

impl From<&LinkReport> for LinkFigures {
    fn from(link: &LinkReport) -> Self {
        Self { clicks: link.clicks, unique_visitors: link.unique_visitors, ctr: link.ctr }
    }
}

/// A profile's links in order. `views` are the profile's, and those of the period before.
pub(crate) async fn links<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    window: &Window,
    views: [u64; 2],
    sort: LinkSort,
) -> Result<Vec<RankedLink>, Problem> {
    let reported = reports(store, profile, window.period, views[0], sort).await?;
    let previous: Option<HashMap<String, LinkFigures>> = match window.previous {
        None => None,
        Some(period) => {
            let before = reports(store, profile, period, views[1], sort).await?;
            Some(before.iter().map(|it| (it.link_id.clone(), it.into())).collect())
        }
    };
    let links = reported.into_iter().map(|link| RankedLink {
        figures: LinkFigures::from(&link),
        previous: previous
            .as_ref()
            .map(|before| before.get(&link.link_id).copied().unwrap_or_default()),
        link_id: link.link_id,
        title: link.title,
        url: link.url,
        kind: link.kind,
        deleted: link.deleted,
    });
    Ok(links.collect())
}

async fn reports<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    period: Period,
    views: u64,
    sort: LinkSort,
) -> Result<Vec<LinkReport>, Problem> {
    let (first, end) = period.days();
    // Side by side: over a quarter of a year each reads thousands of rows.
    let (totals, visitors) = tokio::try_join!(
        store.link_totals(profile, period.from, period.to),
        store.link_visitors(profile, first, end),
    )?;
    Ok(treehook_event::links(totals, visitors, views, sort))
}
