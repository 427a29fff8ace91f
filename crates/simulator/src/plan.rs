//! What traffic is wanted: how much of it, over which days, and how much of it misbehaves.

use treehook_event::{BATCH_MAX, Platform};

/// Profiles at most: each keeps its links in memory.
const PROFILES_MAX: u32 = 10_000;
/// Links per profile at most; real pages have 5 to 30.
const LINKS_MAX: u32 = 200;
/// Days at most: with late events it stays well within the default retention of 400 days.
const DAYS_MAX: u32 = 366;

/// What traffic is wanted. The same plan from the same moment makes the same events, so a second
/// run of it at the same receiver counts nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficPlan {
    /// Whose envelopes. Dub sends no views, no profiles and no milestones.
    pub platform: Platform,
    /// What every choice follows from. Part of every id: another seed is other profiles.
    pub seed: u64,
    /// How many profiles. A run of few events takes fewer, so that visits outweigh announcements.
    pub profiles: u32,
    /// How many links each profile has; fewer in a run of few events.
    pub links: u32,
    /// Over how many days back the event times are spread, in order; 0 means that everything
    /// happens now.
    pub days: u32,
    /// How many events, repeats and forgeries not counted; endless without it. An endless run
    /// goes through its days again and again.
    pub events: Option<u64>,
    /// Which share of the deliveries is sent again later, under the same identity.
    pub duplicates: f64,
    /// Which share of the visits has its own time days before its delivery.
    pub late: f64,
    /// Which share of the deliveries is signed with a wrong key.
    pub bad_signatures: f64,
    /// Envelopes per delivery: arrays from 2 on. About 700 fill the default limit of a body.
    pub batch: usize,
    /// How many views there are to a click.
    pub views_per_click: f64,
}

impl Default for TrafficPlan {
    fn default() -> Self {
        Self {
            platform: Platform::Linktree,
            seed: 1,
            profiles: 3,
            links: 8,
            days: 30,
            events: None,
            duplicates: 0.0,
            late: 0.0,
            bad_signatures: 0.0,
            batch: 1,
            views_per_click: 2.5,
        }
    }
}

/// A setting that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` must be {allowed}")]
pub struct BadPlan {
    /// Which setting.
    pub setting: &'static str,
    /// What it may be.
    pub allowed: String,
}

impl TrafficPlan {
    /// Whether every setting can be followed; the first that cannot.
    pub fn check(&self) -> Result<(), BadPlan> {
        require("profiles", (1..=PROFILES_MAX).contains(&self.profiles), || {
            format!("1 to {PROFILES_MAX}")
        })?;
        require("links", (1..=LINKS_MAX).contains(&self.links), || format!("1 to {LINKS_MAX}"))?;
        require("days", self.days <= DAYS_MAX, || format!("0 to {DAYS_MAX}"))?;
        require("batch", (1..=BATCH_MAX).contains(&self.batch), || format!("1 to {BATCH_MAX}"))?;
        for (setting, share, most) in [
            ("duplicates", self.duplicates, 1.0),
            ("late", self.late, 1.0),
            // With nothing but forgeries a bounded run would never end.
            ("bad_signatures", self.bad_signatures, 0.9),
        ] {
            require(setting, (0.0..=most).contains(&share), || format!("0 to {most}"))?;
        }
        require("views_per_click", (0.0..=1000.0).contains(&self.views_per_click), || {
            "0 to 1000".to_owned()
        })
    }
}

/// An error that says what is allowed, unless the setting holds.
pub(crate) fn require(
    setting: &'static str,
    holds: bool,
    allowed: impl FnOnce() -> String,
) -> Result<(), BadPlan> {
    if holds { Ok(()) } else { Err(BadPlan { setting, allowed: allowed() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let plan = TrafficPlan::default();
        assert_eq!(plan.check(), Ok(()));
        for (bad, setting) in [
            (TrafficPlan { profiles: 0, ..plan.clone() }, "profiles"),
            (TrafficPlan { links: 201, ..plan.clone() }, "links"),
            (TrafficPlan { days: 367, ..plan.clone() }, "days"),
            (TrafficPlan { batch: 1001, ..plan.clone() }, "batch"),
            (TrafficPlan { duplicates: -0.1, ..plan.clone() }, "duplicates"),
            (TrafficPlan { late: f64::NAN, ..plan.clone() }, "late"),
            (TrafficPlan { bad_signatures: 1.0, ..plan.clone() }, "bad_signatures"),
            (TrafficPlan { views_per_click: f64::INFINITY, ..plan.clone() }, "views_per_click"),
        ] {
            assert_eq!(bad.check().unwrap_err().setting, setting);
        }
    }
}
