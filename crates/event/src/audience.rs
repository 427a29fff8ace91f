//! Who clicked: rows of the audience, ranked, with their shares.

use serde::Serialize;

use crate::derive::Device;
use crate::report::AudienceCount;
use crate::rollup::Dimension;

/// Where clicks came from. Percentages are of all clicks, to two digits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audience {
    /// By country, most clicks first.
    pub locations: Vec<Location>,
    /// By referrer, most clicks first.
    pub referrers: Vec<Referrer>,
    /// By device, in per cent.
    pub devices: Devices,
}

/// Clicks from one country.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Location {
    /// ISO 3166-1 alpha-2, or `unknown`.
    pub country: String,
    /// Clicks.
    pub clicks: u64,
    /// Per cent of all clicks.
    pub pct: f64,
}

/// Clicks from one referrer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Referrer {
    /// A host, `direct` or `unknown`.
    pub source: String,
    /// Clicks.
    pub visits: u64,
    /// Per cent of all clicks.
    pub pct: f64,
}

/// Per cent of all clicks by device.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Devices {
    /// Phones.
    pub mobile: f64,
    /// Computers.
    pub desktop: f64,
    /// Tablets.
    pub tablet: f64,
    /// Not known.
    pub unknown: f64,
}

/// Puts a profile's audience together.
pub fn audience(counts: &[AudienceCount]) -> Audience {
    let ranked = |dimension: Dimension| {
        let mut rows: Vec<&AudienceCount> =
            counts.iter().filter(|count| count.dimension == dimension).collect();
        rows.sort_by(|a, b| b.clicks.cmp(&a.clicks).then_with(|| a.value.cmp(&b.value)));
        let total: u64 = rows.iter().map(|row| row.clicks).sum();
        #[expect(clippy::cast_precision_loss, reason = "a percentage to two digits")]
        let pct =
            move |clicks: u64| (clicks as f64 / total.max(1) as f64 * 10_000.0).round() / 100.0;
        rows.into_iter().map(move |row| (row.value.clone(), row.clicks, pct(row.clicks)))
    };
    let mut devices = Devices::default();
    for (name, _, pct) in ranked(Dimension::Device) {
        match Device::named(&name) {
            Device::Mobile => devices.mobile = pct,
            Device::Desktop => devices.desktop = pct,
            Device::Tablet => devices.tablet = pct,
            Device::Unknown => devices.unknown = pct,
        }
    }
    Audience {
        locations: ranked(Dimension::Country)
            .map(|(country, clicks, pct)| Location { country, clicks, pct })
            .collect(),
        referrers: ranked(Dimension::Referrer)
            .map(|(source, visits, pct)| Referrer { source, visits, pct })
            .collect(),
        devices,
    }
}
