//! Where clicks came from: countries, referrers and devices, kept by UTC day.

use std::collections::HashMap;

use serde::Serialize;
use treehook_event::{AudienceCount, Dimension, EventStore, Period, ProfileId};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::window::{Bounds, Window, day_bounds};
/// Where clicks came from, within a limit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Audience {
    /// First moment of the first UTC day that this counts: all those that the period touches.
    #[schema(format = "date-time")]
    pub(crate) days_from: String,
    /// End of the last one, exclusive.
    #[schema(format = "date-time")]
    pub(crate) days_to: String,
    /// Countries there are, those that `limit` cut off included.
    pub(crate) locations_total: usize,
    /// By country, most clicks first.
    pub(crate) locations: Vec<Location>,
    /// Referrers there are, those that `limit` cut off included.
    pub(crate) referrers_total: usize,
    /// By referrer, most clicks first.
    pub(crate) referrers: Vec<Referrer>,
    /// By device, in per cent.
    pub(crate) devices: Devices,
    /// The UTC days that `previous` counts, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_days_from: Option<String>,
    /// Their end, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_days_to: Option<String>,
}

/// Clicks from one country.
#[derive(Serialize, ToSchema)]
pub(crate) struct Location {
    /// ISO 3166-1 alpha-2, or `unknown`.
    pub(crate) country: String,
    /// Clicks.
    pub(crate) clicks: u64,
    /// Per cent of all clicks.
    pub(crate) pct: f64,
    /// Clicks in the period before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous_clicks: Option<u64>,
}

/// Clicks from one referrer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Referrer {
    /// A host, `direct` or `unknown`.
    pub(crate) source: String,
    /// Clicks.
    pub(crate) visits: u64,
    /// Per cent of all clicks.
    pub(crate) pct: f64,
    /// Clicks in the period before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous_visits: Option<u64>,
}

/// Per cent of all clicks by device.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct DeviceShares {
    /// Phones.
    pub(crate) mobile: f64,
    /// Computers.
    pub(crate) desktop: f64,
    /// Tablets.
    pub(crate) tablet: f64,
    /// Not known.
    pub(crate) unknown: f64,
}

/// Devices, and those of the period before.
#[derive(Serialize, ToSchema)]
pub(crate) struct Devices {
    #[serde(flatten)]
    pub(crate) shares: DeviceShares,
    /// The same of the period before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<DeviceShares>,
}

impl From<treehook_event::Devices> for DeviceShares {
    fn from(devices: treehook_event::Devices) -> Self {
        Self {
            mobile: devices.mobile,
            desktop: devices.desktop,
            tablet: devices.tablet,
            unknown: devices.unknown,
        }
    }
}

/// The audience of a period, and the clicks of the period before where asked.
pub(crate) async fn audience<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    window: &Window,
    limit: u32,
) -> Result<Audience, Problem> {
    let counts = counted(store, profile, window.period).await?;
    let before = match window.previous {
        Some(period) => Some((counted(store, profile, period).await?, day_bounds(period))),
        None => None,
    };
    let Bounds { start, end } = day_bounds(window.period);
    let audience = treehook_event::audience(&counts);
    let (locations_total, referrers_total) = (audience.locations.len(), audience.referrers.len());
    let previous = before.as_ref().map(|(counts, _)| counts);
    let (countries, referrers) =
        (Clicks::of(previous, Dimension::Country), Clicks::of(previous, Dimension::Referrer));
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    // Percentages stay those of all clicks, whatever is cut off.
    let locations = audience.locations.into_iter().take(most).map(|at| Location {
        previous_clicks: countries.of_value(&at.country),
        country: at.country,
        clicks: at.clicks,
        pct: at.pct,
    });
    let referrers = audience.referrers.into_iter().take(most).map(|from| Referrer {
        previous_visits: referrers.of_value(&from.source),
        source: from.source,
        visits: from.visits,
        pct: from.pct,
    });
    Ok(Audience {
        days_from: start,
        days_to: end,
        locations_total,
        locations: locations.collect(),
        referrers_total,
        referrers: referrers.collect(),
        devices: Devices {
            shares: audience.devices.into(),
            previous: previous.map(|counts| treehook_event::audience(counts).devices.into()),
        },
        previous_days_from: before.as_ref().map(|(_, days)| days.start.clone()),
        previous_days_to: before.as_ref().map(|(_, days)| days.end.clone()),
    })
}

async fn counted<S: EventStore>(
    store: &S,
    profile: &ProfileId,
    period: Period,
) -> Result<Vec<AudienceCount>, Problem> {
    let (first, end) = period.days();
    Ok(store.audience(profile, first, end).await?)
}

/// Clicks by value of one dimension, of a period that may not have been asked for.
struct Clicks<'a>(Option<HashMap<&'a str, u64>>);

impl<'a> Clicks<'a> {
    fn of(counts: Option<&'a Vec<AudienceCount>>, dimension: Dimension) -> Self {
        let of_dimension = |counts: &'a Vec<AudienceCount>| {
            let rows = counts.iter().filter(|count| count.dimension == dimension);
            rows.map(|count| (count.value.as_str(), count.clicks)).collect()
        };
        Self(counts.map(of_dimension))
    }

    /// Nobody came from a value that is not there.
    fn of_value(&self, value: &str) -> Option<u64> {
        self.0.as_ref().map(|clicks| clicks.get(value).copied().unwrap_or(0))
    }
}
