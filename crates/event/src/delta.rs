//! What a batch adds, as bytes: it may be kept for a while before it is added.

use crate::names::ProfileId;
use crate::packed::{Packed, name_in_bytes};
use crate::rollup::Rollup;

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

    /// Read back, by the version that wrote it; damaged bytes are an error, never a number.
    pub fn from_delta(version: i16, bytes: &[u8]) -> Result<Self, BadDelta> {
        match version {
            DELTA_VERSION => Packed::rollup(bytes),
            JSON_VERSION => serde_json::from_slice(bytes).map_err(|_| BadDelta),
            _ => Err(BadDelta),
        }
    }
}

/// What the bytes of a delta hold if it adds to this profile: one of these, by the version that wrote it. Others may
/// hold it by chance.
pub fn traces_in_delta(profile: &ProfileId) -> [Vec<u8>; 2] {
    // JSON has it between quotes.
    let quoted = serde_json::to_vec(profile).expect("a text becomes JSON");
    [name_in_bytes(profile), quoted]
}

/// A map as a list of pairs, since JSON knows texts alone as keys.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer};

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
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
            event("a", Body::Link(change)),
            event("b", Body::Profile(named)),
            event("c", Body::Milestone(milestone)),
        ]);
        let back = Rollup::from_delta(DELTA_VERSION, &rollup.to_delta()).expect("our own bytes");
        assert_eq!(back.links, rollup.links);
        assert_eq!(back.profiles, rollup.profiles);
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
            let mut back = Rollup::from_delta(DELTA_VERSION, &rollup.to_delta()).expect("our own");
            let counts = |of: &Rollup| -> Vec<u64> {
                of.link_visitors
                    .values()
                    .chain(of.profile_visitors.values())
                    .map(Sketch::count)
                    .collect()
            };
            assert_eq!(counts(&back), counts(&rollup));
            // Nobody is counted twice.
            let once = counts(&rollup);
            back.merge(rollup);
            assert_eq!(counts(&back), once);
        }
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let written = br#"{"link_hours":[[["p","l",472222],2]],
            "profile_hours":[[["p",472222],{"views":1,"clicks":2}]],
            "profile_minutes":[[["p",28333333],{"views":1,"clicks":2}]],
            "audience":[[["p",19675,"country","DE"],2]],
            "profile_visitors":[[["p",19675],[14,7,8]]],
            "link_visitors":[[["p","l",19675],[12,7,8]]],
            "links":[[["p","l"],{}]],"profiles":[["p",{}]],"milestones":[]}"#;
        let rollup = Rollup::from_delta(1, written).expect("what it wrote");
        let back = Rollup::from_delta(DELTA_VERSION, &rollup.to_delta()).expect("our own bytes");
        assert_eq!(back.link_hours, rollup.link_hours);
        assert_eq!(back.profile_hours, rollup.profile_hours);
        assert_eq!(back.profile_minutes, rollup.profile_minutes);
        assert_eq!(back.audience, rollup.audience);
        assert_eq!((&back.links, &back.profiles), (&rollup.links, &rollup.profiles));
        for visitors in
            [&back.profile_visitors.values().next(), &back.link_visitors.values().next()]
        {
            assert_eq!(visitors.map(Sketch::count), Some(2));
        }
        let traces = traces_in_delta(&ProfileId::trusted("p"));
        let holds =
            |bytes: &[u8], trace: &[u8]| bytes.windows(trace.len()).any(|held| held == trace);
        assert!(holds(&back.to_delta(), &traces[0]) && holds(written, &traces[1]));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let whole = fold(&[event("a", Body::Profile(named("p")))]).to_delta();
        let longer = [&whole[..], b"x"].concat();
        for bytes in
            [&b""[..], b"{}", b"[]", b"\xff", &whole[1..], &whole[..whole.len() - 1], &longer]
        {
            assert_eq!(Rollup::from_delta(DELTA_VERSION, bytes).err(), Some(BadDelta), "{bytes:?}");
        }
        for (version, bytes) in
            [(1, &b"{}"[..]), (1, &whole), (0, &whole), (DELTA_VERSION + 1, &whole)]
        {
            assert_eq!(Rollup::from_delta(version, bytes).err(), Some(BadDelta), "{version}");
        }
        for strange in ["[]", "[13,1]", "[12,-1]", "\"?\"", "\"AAAA\"", "7", "null"] {
            assert!(serde_json::from_str::<Sketch>(strange).is_err(), "{strange}");
        }
    }
}
