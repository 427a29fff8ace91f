//! Stored sketches added up by the thousand: their registers are compared where they stand, which costs a tenth
//! of reading each into a sketch of its own.

use datasketches::hll::{HllSketch, HllType, HllUnion};

use crate::sketch::{BadSketch, LINK_LG_K, PROFILE_LG_K, Sketch};

/// Everybody in many stored sketches of one size.
pub struct Union {
    lg_k: u8,
    /// What is few is counted exactly, and that the library knows how to do.
    few: HllUnion,
    /// One byte for each register once anything has been many: the largest value of all.
    many: Option<Box<[u8]>>,
}

/// From here on the library may have gone from a set over to registers.
const FEW_MAX: f64 = 384.0;

// Apache DataSketches, HLL sketch, images of serial version 1: eight bytes of header that end in the mode, and
// then the coupons behind their number (in a list it stands in the header), or the registers behind what is
// known of them. A coupon is 26 bits of slot below six bits of value.
const MODE_AT: usize = 7;
const LIST: u8 = 0;
const SET: u8 = 1;
const REGISTERS: u8 = 2;
const TARGET_HLL8: u8 = 2;
const LIST_LENGTH_AT: usize = 6;
const LIST_AT: usize = 8;
const SET_LENGTH_AT: usize = 8;
const SET_AT: usize = 12;
const REGISTERS_AT: usize = 40;
const REGISTERS_HEADER: [u8; 3] = [10, 1, 7];
const COMPACT: u8 = 8;
/// Nothing is known of the order in which visitors came: the count comes from the registers alone.
const OUT_OF_ORDER: u8 = 16;

/// What stands in an image that this file can read by itself.
enum Image<'a> {
    Coupons(&'a [u8]),
    Registers(&'a [u8]),
}

impl Union {
    /// Nobody yet, in sketches of links.
    pub fn of_link() -> Self {
        Self::empty(LINK_LG_K)
    }

    /// Nobody yet, in sketches of profiles.
    pub fn of_profile() -> Self {
        Self::empty(PROFILE_LG_K)
    }

    fn empty(lg_k: u8) -> Self {
        Self { lg_k, few: HllUnion::new(lg_k).expect("12 and 14 are sizes"), many: None }
    }

    /// Adds everybody in a sketch as it is stored; damaged bytes are an error, and add nobody.
    pub fn add(&mut self, stored: &[u8]) -> Result<(), BadSketch> {
        match (image(stored, self.lg_k), &mut self.many) {
            (Some(Image::Registers(theirs)), Some(ours)) => raise(ours, theirs),
            (Some(Image::Registers(theirs)), many @ None) => *many = Some(theirs.into()),
            (Some(Image::Coupons(coupons)), Some(ours)) => raise_each(ours, coupons),
            (Some(Image::Coupons(_)) | None, _) => {
                let sketch =
                    HllSketch::deserialize(stored).map_err(|error| BadSketch::of(&error))?;
                if sketch.lg_config_k() != self.lg_k {
                    return Err(BadSketch::of_size(sketch.lg_config_k(), self.lg_k));
                }
                self.few.update(&sketch);
                if self.many.is_none() && self.few.estimate() > FEW_MAX {
                    self.many = self.registers_of_few();
                }
            }
        }
        Ok(())
    }

    fn registers_of_few(&self) -> Option<Box<[u8]>> {
        match image(&self.few.to_sketch(HllType::Hll8).serialize(), self.lg_k) {
            Some(Image::Registers(registers)) => Some(registers.into()),
            Some(Image::Coupons(_)) | None => None,
        }
    }

    /// Everybody.
    pub fn finish(self) -> Sketch {
        let few = self.few.to_sketch(HllType::Hll8);
        let Some(mut registers) = self.many else { return Sketch::many(few) };
        match image(&few.serialize(), self.lg_k) {
            Some(Image::Coupons(coupons)) => raise_each(&mut registers, coupons),
            Some(Image::Registers(theirs)) => raise(&mut registers, theirs),
            None => unreachable!("the library's union is of the size that it was made with"),
        }
        let whole = HllSketch::deserialize(&image_of(&registers, self.lg_k));
        Sketch::many(whole.expect("an image as the library writes it"))
    }
}

/// Recognizes what the library writes for sketches of this size. Nothing for everything else, which the library
/// has to judge.
fn image(stored: &[u8], lg_k: u8) -> Option<Image<'_>> {
    let header = stored.get(..LIST_AT)?;
    let [_, version, family] = REGISTERS_HEADER;
    if header[1..4] != [version, family, lg_k] || header[MODE_AT] >> 2 != TARGET_HLL8 {
        return None;
    }
    let is_compact = header[5] & COMPACT != 0;
    let coupons = |at: usize, count: usize| {
        let coupons = stored.get(at..)?;
        (is_compact && coupons.len() == count * 4).then_some(Image::Coupons(coupons))
    };
    match (header[MODE_AT] & 3, header[0]) {
        (LIST, 2) => coupons(LIST_AT, usize::from(header[LIST_LENGTH_AT])),
        (SET, 3) => {
            let count: [u8; 4] = stored.get(SET_LENGTH_AT..SET_AT)?.try_into().ok()?;
            coupons(SET_AT, usize::try_from(u32::from_le_bytes(count)).ok()?)
        }
        (REGISTERS, 10) => {
            let registers = stored.get(REGISTERS_AT..)?;
            (registers.len() == 1 << lg_k).then_some(Image::Registers(registers))
        }
        _ => None,
    }
}

fn raise(ours: &mut [u8], theirs: &[u8]) {
    for (ours, theirs) in ours.iter_mut().zip(theirs) {
        *ours = (*ours).max(*theirs);
    }
}

fn raise_each(ours: &mut [u8], coupons: &[u8]) {
    let mask = ours.len() - 1;
    for coupon in coupons.chunks_exact(4) {
        let slot =
            usize::from(coupon[0]) | usize::from(coupon[1]) << 8 | usize::from(coupon[2]) << 16;
        // No size of ours has more than the low 24 bits of a slot.
        let (slot, value) = (slot & mask, coupon[3] >> 2);
        ours[slot] = ours[slot].max(value);
    }
}

/// The image of a sketch with these registers.
fn image_of(registers: &[u8], lg_k: u8) -> Vec<u8> {
    let zeros: u32 = registers.iter().map(|value| u32::from(*value == 0)).sum();
    // The sums of 2^-value, as the library keeps them: small values apart from large ones.
    let sum_of = |are_large: bool| -> f64 {
        let values = registers.iter().filter(|value| (**value >= 32) == are_large);
        values.map(|value| 0.5_f64.powi(i32::from(*value))).sum()
    };
    let mut image = Vec::with_capacity(REGISTERS_AT + registers.len());
    image.extend(REGISTERS_HEADER);
    image.extend([lg_k, 0, OUT_OF_ORDER, 0, REGISTERS | TARGET_HLL8 << 2]);
    image.extend(0.0_f64.to_le_bytes());
    image.extend(sum_of(false).to_le_bytes());
    image.extend(sum_of(true).to_le_bytes());
    image.extend(zeros.to_le_bytes());
    image.extend(0_u32.to_le_bytes());
    image.extend(registers);
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::VisitorId;
    use proptest::prelude::*;

    fn filled(mut sketch: Sketch, first: u64, count: u64) -> Sketch {
        let spread = |n: u64| VisitorId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (first..first + count).for_each(|n| sketch.add(spread(n)));
        sketch
    }

    /// How many visitors: none, as many as fit into a list, into a set, and into registers alone.
    fn crowd() -> impl Strategy<Value = (u64, u64)> {
        (0..3000_u64, prop_oneof![0..9_u64, 9..400_u64, 300..5000_u64])
    }

    proptest! {
        #[test]
        fn it_counts_what_merging_one_by_one_counts(crowds in prop::collection::vec(crowd(), 0..12)) {
            for (empty, union) in
                [(Sketch::for_link(), Union::of_link()), (Sketch::for_profile(), Union::of_profile())]
            {
                let (mut merged, mut union) = (empty.clone(), union);
                for (first, count) in &crowds {
                    let part = filled(empty.clone(), *first, *count);
                    merged.merge(&part);
                    union.add(&part.to_bytes()).unwrap();
                }
                let whole = union.finish();
                prop_assert_eq!(whole.count(), merged.count());
                // Stored, it is still the same.
                prop_assert_eq!(Sketch::from_bytes(&whole.to_bytes()).unwrap().count(), merged.count());
            }
        }

        #[test]
        fn damaged_bytes_are_refused_as_a_sketch_refuses_them(
            (first, count) in crowd(), at in 0..60_usize, byte: u8, cut in 0..5000_usize,
        ) {
            let mut bytes = filled(Sketch::for_link(), first, count).to_bytes();
            bytes.truncate(cut);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let (union, sketch) = (Union::of_link().add(&bytes), Sketch::from_bytes(&bytes));
            // More is believed of registers and coupons that are read by themselves; less of another size.
            let is_of_size = bytes.get(3) == Some(&LINK_LG_K);
            prop_assert!(union.is_ok() || sketch.is_err() || !is_of_size);
        }
    }

    #[test]
    fn sketches_of_another_size_are_refused_and_harm_nothing() {
        let (mut union, whole) = (Union::of_profile(), filled(Sketch::for_profile(), 0, 5000));
        union.add(&whole.to_bytes()).unwrap();
        for count in [5, 100, 5000] {
            assert!(union.add(&filled(Sketch::for_link(), 0, count).to_bytes()).is_err());
        }
        assert_eq!(union.finish().count(), whole.count());
    }

    #[test]
    fn nonsense_is_an_error_and_adds_nobody() {
        let mut union = Union::of_link();
        for nonsense in [&b""[..], &[7; 40], &[0; 8]] {
            assert!(union.add(nonsense).is_err());
        }
        assert!(union.finish().is_empty());
    }
}
