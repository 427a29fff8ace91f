//! What a batch adds, as bytes: it may be kept for a while before it is added.

use serde::Deserialize;

use crate::moment::{Day, Hour, Minute};
use crate::names::{LinkId, ProfileId};
use crate::packed::{Packed, name_in_bytes};
use crate::projection::{LinkState, ProfileState};
use crate::report::MilestoneRow;
use crate::rollup::{Counts, Dimension, OfLink, OfProfile, Rollup};
use crate::sketch::Sketch;

/// Which deltas this version writes, and reads: up to this one.
pub const DELTA_VERSION: i16 = 2;
/// The version whose deltas were the rollup's JSON.
const JSON_VERSION: i16 = 1;

/// Bytes that are not a delta of ours. Says nothing of them, since they may hold names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a delta of rollups")]
pub struct BadDelta;

impl Rollup {
    /// As a delta of [`DELTA_VERSION`].
    pub fn to_delta(&self) -> Vec<u8> {
        Packed::from(self).to_bytes()
    }

    /// With what a delta adds, read by the version that wrote it; damaged bytes are an error, never a number. In whatever
    /// order deltas are added, the sum is the same.
    pub fn with_delta(mut self, version: i16, bytes: &[u8]) -> Result<Self, BadDelta> {
        match version {
            DELTA_VERSION => Packed::add_to(&mut self, bytes)?,
            JSON_VERSION => {
                let flat: Flat = serde_json::from_slice(bytes).map_err(|_| BadDelta)?;
                flat.add_to(&mut self);
            }
            _ => return Err(BadDelta),
        }
        Ok(self)
    }
}

/// What the bytes of a delta hold if it adds to this profile: one of these, by the version that wrote it. Others may
/// hold it by chance.
pub fn traces_in_delta(profile: &ProfileId) -> [Vec<u8>; 2] {
    // JSON has it between quotes.
    let quoted = serde_json::to_vec(profile).expect("a text becomes JSON");
    [name_in_bytes(profile), quoted]
}

/// A delta of the first version: lists of keys and values.
#[derive(Deserialize)]
struct Flat {
    link_hours: Vec<((ProfileId, LinkId, Hour), u64)>,
    profile_hours: Vec<((ProfileId, Hour), Counts)>,
    profile_minutes: Vec<((ProfileId, Minute), Counts)>,
    audience: Vec<((ProfileId, Day, Dimension, String), u64)>,
    profile_visitors: Vec<((ProfileId, Day), Sketch)>,
    link_visitors: Vec<((ProfileId, LinkId, Day), Sketch)>,
    links: Vec<((ProfileId, LinkId), LinkState)>,
    profiles: Vec<(ProfileId, ProfileState)>,
    milestones: Vec<MilestoneRow>,
}

impl Flat {
    fn add_to(self, rollup: &mut Rollup) {
        for ((profile, link, hour), clicks) in self.link_hours {
            change_link(rollup, &profile, &link, |of| *of.hours.at(hour, u64::default) += clicks);
        }
        for ((profile, hour), counts) in self.profile_hours {
            let change = |of: &mut OfProfile| of.hours.at(hour, Counts::default).merge(counts);
            rollup.change(profile.as_str(), change);
        }
        for ((profile, minute), counts) in self.profile_minutes {
            let change = |of: &mut OfProfile| of.minutes.at(minute, Counts::default).merge(counts);
            rollup.change(profile.as_str(), change);
        }
        for ((profile, day, dimension, value), clicks) in self.audience {
            let clicks = [(day, dimension, &*value, clicks)];
            rollup.change(profile.as_str(), |of| of.add_to_audience(&clicks));
        }
        for ((profile, day), visitors) in self.profile_visitors {
            rollup.change(profile.as_str(), |of| of.visitors_on(day).merge(&visitors));
        }
        for ((profile, link, day), visitors) in self.link_visitors {
            change_link(rollup, &profile, &link, |of| of.visitors_on(day).merge(&visitors));
        }
        for ((profile, link), said) in self.links {
            change_link(rollup, &profile, &link, |of| of.say(&said));
        }
        for (profile, said) in self.profiles {
            rollup.change(profile.as_str(), |of| {
                if !said.is_blank() {
                    of.say(&said);
                }
            });
        }
        rollup.milestones.extend(self.milestones);
    }
}

fn change_link(
    rollup: &mut Rollup,
    profile: &ProfileId,
    link: &LinkId,
    act: impl FnOnce(&mut OfLink),
) {
    rollup.change(profile.as_str(), |of| of.change_link(link.as_str(), act));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Body, Device, Event, Identity, LinkChange, LinkChangeKind, LinkFields, LinkId, Milestone,
        ProfileFields, Sketch, SourceName, Timestamp, Visit, VisitKind, VisitorId, fold,
    };

    fn event(id: &str, body: Body) -> Event {
        Event {
            source: SourceName::trusted("linktree"),
            identity: Identity::trusted(id),
            occurred_at: Timestamp::from_seconds(1_700_000_000),
            received_at: Timestamp::from_seconds(1_700_000_001),
            entry: None,
            body,
            payload: "{}".into(),
        }
    }

    fn read(version: i16, bytes: &[u8]) -> Result<Rollup, BadDelta> {
        Rollup::default().with_delta(version, bytes)
    }

    fn named(profile: &str) -> ProfileFields {
        ProfileFields {
            profile_id: ProfileId::trusted(profile),
            username: Some("ann".into()),
            display_name: None,
            bio: None,
            avatar_url: Some(None),
            theme: None,
        }
    }

    #[test]
    fn changes_and_milestones_come_back_whole() {
        let (profile_id, link_id) = (ProfileId::trusted("p\"1"), LinkId::trusted("l1"));
        let fields =
            LinkFields { title: Some("t".into()), url: Some(None), ..LinkFields::default() };
        let change = LinkChange {
            change: LinkChangeKind::Deleted,
            profile_id: profile_id.clone(),
            link_id: link_id.clone(),
            fields,
        };
        let named = named(profile_id.as_str());
        let milestone = Milestone {
            profile_id,
            link_id: Some(link_id),
            metric: Some("clicks".into()),
            threshold: Some(-1),
            value: None,
        };
        let rollup = fold(&[
            event("a", Body::Link(change.into())),
            event("b", Body::Profile(named.into())),
            event("c", Body::Milestone(milestone)),
        ]);
        let back = read(DELTA_VERSION, &rollup.to_delta()).expect("our own bytes");
        assert!(back.links().eq(rollup.links()));
        assert!(back.profiles().eq(rollup.profiles()));
        assert_eq!(back.milestones, rollup.milestones);
    }

    #[test]
    fn few_visitors_and_many_come_back_the_same() {
        for count in [0, 1, 32, 33, 5000] {
            let visits = (0..count).map(|n: u64| {
                let visit = Visit {
                    profile_id: ProfileId::trusted("p"),
                    visitor: Some(VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
                    country: "DE".into(),
                    device: Device::Mobile,
                    referrer: "direct".into(),
                    kind: VisitKind::Click { link_id: LinkId::trusted("l") },
                    link: None,
                };
                event(&n.to_string(), Body::Visit(visit))
            });
            let rollup = fold(&visits.collect::<Vec<_>>());
            let back = read(DELTA_VERSION, &rollup.to_delta()).expect("our own");
            let counts = |of: &Rollup| -> Vec<u64> {
                let of_links = of.link_visitors().map(|(.., seen)| seen);
                let of_profiles = of.profile_visitors().map(|(.., seen)| seen);
                of_links.chain(of_profiles).map(Sketch::count).collect()
            };
            assert_eq!(counts(&back), counts(&rollup));
            // Nobody is counted twice.
            let once = counts(&rollup);
            let twice = back.with_delta(DELTA_VERSION, &rollup.to_delta()).expect("our own");
            assert_eq!(counts(&twice), once);
        }
    }

    #[test]
    fn what_both_versions_wrote_is_read() {
        let written = br#"{"link_hours":[[["p","l",472222],2]],
            "profile_hours":[[["p",472222],{"views":1,"clicks":2}]],
            "profile_minutes":[[["p",28333333],{"views":1,"clicks":2}]],
            "audience":[[["p",19675,"country","DE"],2]],
            "profile_visitors":[[["p",19675],[14,7,8]]],
            "link_visitors":[[["p","l",19675],[12,7,8]]],
            "links":[[["p","l"],{}]],"profiles":[["p",{}]],"milestones":[]}"#;
        let profile = ProfileId::trusted("p");
        let rollup = read(1, written).expect("what it wrote");
        let back = read(DELTA_VERSION, &rollup.to_delta()).expect("our own bytes");
        // They may have waited since an older treehook wrote them.
        let of_second_version = "010170010001bcd239010201aad4821b010201b6b302000244450201b6b3020010\
            0700000000000000080000000000000001016c010001bcd2390201b6b302001007000000000000000800\
            00000000000000";
        assert_eq!(hex::encode(rollup.to_delta()), of_second_version);
        assert!(back.link_hours().eq(rollup.link_hours()) && rollup.link_hours().count() == 1);
        assert!(back.profile_hours().eq(rollup.profile_hours()));
        let now = Timestamp::from_seconds(28_333_333 * 60);
        let minutes = [(&profile, now.minute(), Counts { views: 1, clicks: 2 })];
        assert_eq!(back.live_minutes(now), minutes);
        assert_eq!(rollup.live_minutes(now), minutes);
        let audience = [(&profile, Day(19675), Dimension::Country, "DE", 2)];
        assert!(back.audience().eq(audience) && rollup.audience().eq(audience));
        assert!(back.links().eq(rollup.links()) && rollup.links().count() == 1);
        assert!(back.profiles().eq([(&profile, None)]) && rollup.profiles().eq(back.profiles()));
        for of in [&back, &rollup] {
            assert!(of.profile_visitors().map(|(.., seen)| seen.count()).eq([2]));
            assert!(of.link_visitors().map(|(.., seen)| seen.count()).eq([2]));
        }
        let traces = traces_in_delta(&profile);
        let holds =
            |bytes: &[u8], trace: &[u8]| bytes.windows(trace.len()).any(|held| held == trace);
        assert!(holds(&back.to_delta(), &traces[0]) && holds(written, &traces[1]));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let whole = fold(&[event("a", Body::Profile(named("p").into()))]).to_delta();
        let longer = [&whole[..], b"x"].concat();
        for bytes in
            [&b""[..], b"{}", b"[]", b"\xff", &whole[1..], &whole[..whole.len() - 1], &longer]
        {
            assert_eq!(read(DELTA_VERSION, bytes).err(), Some(BadDelta), "{bytes:?}");
        }
        for (version, bytes) in
            [(1, &b"{}"[..]), (1, &whole), (0, &whole), (DELTA_VERSION + 1, &whole)]
        {
            assert_eq!(read(version, bytes).err(), Some(BadDelta), "{version}");
        }
        for strange in ["[]", "[13,1]", "[12,-1]", "\"?\"", "\"AAAA\"", "7", "null"] {
            assert!(serde_json::from_str::<Sketch>(strange).is_err(), "{strange}");
        }
    }
}
