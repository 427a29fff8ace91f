//! Choices that follow from a number, so that nothing about a visitor has to be remembered.

/// An odd constant whose multiples visit every 64-bit number (the golden ratio's).
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that looks like chance and is not: one to one, so that two inputs never meet.
/// (The finaliser of `SplitMix64`.)
pub(crate) fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(STRIDE);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// One entry of a table, as often as its weight says. The table is not empty.
pub(crate) fn choose<T>(table: &'static [(T, u32)], bits: u64) -> &'static T {
    let total: u64 = table.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = bits % total;
    for (value, weight) in table {
        let weight = u64::from(*weight);
        if left < weight {
            return value;
        }
        left -= weight;
    }
    unreachable!("what is left is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn scattered_numbers_stay_distinct() {
        let scattered: HashSet<u64> = (0..100_000).map(scatter).collect();
        assert_eq!(scattered.len(), 100_000);
    }

    #[test]
    fn a_table_is_drawn_from_by_weight() {
        const TABLE: [(char, u32); 3] = [('a', 7), ('b', 0), ('c', 3)];
        let count = |wanted| (0..1000).filter(|bits| *choose(&TABLE, *bits) == wanted).count();
        assert_eq!((count('a'), count('b'), count('c')), (700, 0, 300));
    }
}
