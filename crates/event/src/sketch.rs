//! Distinct visitors, counted in a bounded space: exact while few, a HyperLogLog sketch beyond.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::privacy::VisitorId;

/// A mergeable set of visitors. Links use 2^12 registers (relative standard error 1.6 %, at most
/// 4 KiB), profiles 2^14 (0.8 %, at most 16 KiB). Up to a few hundred visitors it stores each one.
#[derive(Clone)]
pub struct Sketch {
    lg_k: u8,
    visitors: Visitors,
}

/// What a batch brings to one link or profile is a handful of visitors: they are kept as they are, and
/// added to what is stored one by one, which is many times cheaper than to merge two sketches.
#[derive(Clone)]
enum Visitors {
    /// Distinct, at most [`FEW`].
    Few(Vec<u64>),
    Many(Box<HllSketch>),
}

/// From here on a list is searched for longer than a sketch takes.
const FEW: usize = 32;

/// Bytes that are not a sketch of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a visitor sketch: {0}")]
pub struct BadSketch(String);

impl BadSketch {
    pub(crate) fn of(error: &datasketches::error::Error) -> Self {
        Self(error.to_string())
    }

    pub(crate) fn of_size(lg_k: u8, wanted: u8) -> Self {
        Self(format!("2^{lg_k} registers where there are 2^{wanted}"))
    }
}

pub(crate) const LINK_LG_K: u8 = 12;
pub(crate) const PROFILE_LG_K: u8 = 14;

impl Sketch {
    /// An empty one for a link.
    pub fn for_link() -> Self {
        Self::empty(LINK_LG_K)
    }

    /// An empty one for a profile.
    pub fn for_profile() -> Self {
        Self::empty(PROFILE_LG_K)
    }

    fn empty(lg_k: u8) -> Self {
        Self { lg_k, visitors: Visitors::Few(Vec::new()) }
    }

    /// Adds a visitor.
    pub fn add(&mut self, visitor: VisitorId) {
        match &mut self.visitors {
            Visitors::Many(sketch) => sketch.update(visitor.0),
            Visitors::Few(few) if few.contains(&visitor.0) => (),
            Visitors::Few(few) if few.len() < FEW => few.push(visitor.0),
            Visitors::Few(_) => {
                let mut sketch = self.to_sketch();
                sketch.update(visitor.0);
                self.visitors = Visitors::Many(Box::new(sketch));
            }
        }
    }

    /// Adds everybody in the other one. For many that are stored, [`crate::Union`] is quicker.
    pub fn merge(&mut self, other: &Self) {
        match &other.visitors {
            Visitors::Few(few) => {
                for visitor in few {
                    self.add(VisitorId(*visitor));
                }
            }
            Visitors::Many(_) if self.is_empty() && self.lg_k == other.lg_k => {
                self.visitors = other.visitors.clone();
            }
            Visitors::Many(theirs) => {
                let mut union = HllUnion::new(self.lg_k).expect("a sketch's size is a union's too");
                union.update(&self.to_sketch());
                union.update(theirs);
                *self = Self::many(union.to_sketch(HllType::Hll8));
            }
        }
    }

    /// How many distinct visitors. Does not depend on the order in which they came or were merged.
    pub fn count(&self) -> u64 {
        match &self.visitors {
            Visitors::Few(few) => few.len() as u64,
            Visitors::Many(sketch) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count, rounded"
                )]
                let count = sketch.composite_estimate().round() as u64;
                count
            }
        }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        match &self.visitors {
            Visitors::Few(few) => few.is_empty(),
            Visitors::Many(sketch) => sketch.is_empty(),
        }
    }

    /// As stored: Apache DataSketches' HLL format.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.visitors {
            Visitors::Few(_) => self.to_sketch().serialize(),
            Visitors::Many(sketch) => sketch.serialize(),
        }
    }

    /// Read back; damaged bytes are an error, never a number.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSketch> {
        HllSketch::deserialize(bytes).map(Self::many).map_err(|error| BadSketch::of(&error))
    }

    /// The same for a link's or a profile's.
    pub(crate) fn from_bytes_of(lg_k: u8, bytes: &[u8]) -> Result<Self, BadSketch> {
        let sketch = Self::from_bytes(bytes)?;
        if sketch.lg_k == lg_k { Ok(sketch) } else { Err(BadSketch::of_size(sketch.lg_k, lg_k)) }
    }

    /// Everybody in it, while they are few.
    pub(crate) fn few(&self) -> Option<&[u64]> {
        match &self.visitors {
            Visitors::Few(few) => Some(few),
            Visitors::Many(_) => None,
        }
    }

    pub(crate) fn many(sketch: HllSketch) -> Self {
        Self { lg_k: sketch.lg_config_k(), visitors: Visitors::Many(Box::new(sketch)) }
    }

    fn to_sketch(&self) -> HllSketch {
        match &self.visitors {
            Visitors::Many(sketch) => HllSketch::clone(sketch),
            Visitors::Few(few) => {
                let sketch = HllSketch::new(self.lg_k, HllType::Hll8);
                let mut sketch = sketch.expect("12 and 14 lie within 4 to 21");
                for visitor in few {
                    sketch.update(*visitor);
                }
                sketch
            }
        }
    }
}

/// As deltas of the first version had it: a few visitors as a list of numbers, the first of which is the size, and many
/// as base64 of what is stored.
impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewOrMany)
    }
}

struct FewOrMany;

impl<'de> Visitor<'de> for FewOrMany {
    type Value = Sketch;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a size and visitors, or a sketch in base64")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Sketch, A::Error> {
        let size: Option<u8> = numbers.next_element()?;
        let mut sketch = match size {
            Some(LINK_LG_K) => Sketch::for_link(),
            Some(PROFILE_LG_K) => Sketch::for_profile(),
            Some(_) | None => return Err(A::Error::custom("no size of ours")),
        };
        while let Some(visitor) = numbers.next_element()? {
            sketch.add(VisitorId(visitor));
        }
        Ok(sketch)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Sketch, E> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(E::custom)?;
        Sketch::from_bytes(&bytes).map_err(E::custom)
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sketch(~{})", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(mut sketch: Sketch, visitors: std::ops::Range<u64>) -> Sketch {
        // Spread as pseudonyms are: neighbours would be kind to a hash.
        visitors.for_each(|n| sketch.add(VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        sketch
    }

    #[test]
    fn it_is_exact_up_to_a_hundred() {
        for count in 0..=100 {
            assert_eq!(filled(Sketch::for_link(), 0..count).count(), count);
            assert_eq!(filled(Sketch::for_profile(), 0..count).count(), count);
        }
    }

    #[test]
    fn merging_counts_the_union_within_the_stated_error() {
        for (empty, tolerance) in [(Sketch::for_link(), 0.06), (Sketch::for_profile(), 0.03)] {
            // Three standard errors, over overlapping days.
            let mut merged = empty.clone();
            for day in 0..5_u64 {
                merged.merge(&filled(empty.clone(), day * 10_000..day * 10_000 + 20_000));
            }
            let counted = u32::try_from(merged.count()).unwrap();
            let off = (f64::from(counted) / 60_000.0 - 1.0).abs();
            assert!(off < tolerance, "{off}");
        }
    }

    #[test]
    fn the_order_of_arrival_changes_nothing() {
        let whole = filled(Sketch::for_link(), 0..5000);
        let mut parts = filled(Sketch::for_link(), 2500..5000);
        parts.merge(&filled(Sketch::for_link(), 0..3000));
        assert_eq!(whole.count(), parts.count());
    }

    #[test]
    fn bytes_come_back_or_are_refused() {
        for count in [0, 5, 100, 50_000] {
            let sketch = filled(Sketch::for_profile(), 0..count);
            let back = Sketch::from_bytes(&sketch.to_bytes()).expect("our own bytes");
            assert_eq!(back.count(), sketch.count());
        }
        assert!(Sketch::from_bytes(b"").is_err());
        assert!(Sketch::from_bytes(&[7; 40]).is_err());
    }
}
