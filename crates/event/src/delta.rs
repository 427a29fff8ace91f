//! What a batch adds, as bytes: it may be kept for a while before it is added.

use crate::rollup::Rollup;

/// Which deltas this version writes, and reads: up to this one.
pub const DELTA_VERSION: i16 = 1;

/// Bytes that are not a delta of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a delta of rollups: at line {line}, column {column}")]
pub struct BadDelta {
    line: usize,
    column: usize,
}

impl Rollup {
    /// As JSON.
    pub fn to_delta(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and lists become JSON")
    }

    /// Read back; damaged bytes are an error, never a number.
    pub fn from_delta(bytes: &[u8]) -> Result<Self, BadDelta> {
        // The error's position alone: its text may quote what was read.
        serde_json::from_slice(bytes)
            .map_err(|error| BadDelta { line: error.line(), column: error.column() })
    }
}

/// A map as a list of pairs, since JSON knows texts alone as keys.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

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
        Body, Event, Identity, LinkChange, LinkChangeKind, LinkFields, LinkId, Milestone,
        ProfileFields, ProfileId, Sketch, SourceName, Timestamp, VisitorId, fold,
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
        let named = ProfileFields {
            profile_id: profile_id.clone(),
            username: Some("ann".into()),
            display_name: None,
            bio: None,
            avatar_url: Some(None),
            theme: None,
        };
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
        let back = Rollup::from_delta(&rollup.to_delta()).expect("our own bytes");
        assert_eq!(back.links, rollup.links);
        assert_eq!(back.profiles, rollup.profiles);
        assert_eq!(back.milestones, rollup.milestones);
    }

    #[test]
    fn few_visitors_and_many_come_back_the_same() {
        for empty in [Sketch::for_link(), Sketch::for_profile()] {
            for count in [0, 1, 32, 33, 5000] {
                let mut sketch = empty.clone();
                (0..count).for_each(|n: u64| {
                    sketch.add(VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                });
                let text = serde_json::to_string(&sketch).expect("JSON");
                let mut back: Sketch = serde_json::from_str(&text).expect("our own text");
                assert_eq!(back.count(), sketch.count());
                back.merge(&sketch);
                assert_eq!(back.count(), sketch.count());
            }
        }
        for strange in ["[]", "[13,1]", "[12,-1]", "\"?\"", "\"AAAA\"", "7", "null"] {
            assert!(serde_json::from_str::<Sketch>(strange).is_err(), "{strange}");
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_that_quotes_nothing() {
        for bytes in [&b""[..], b"{}", b"[]", br#"{"link_hours":[["secret"]]}"#, b"\xff"] {
            let error = Rollup::from_delta(bytes).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
