//! A map of mostly one entry or a few: a list in order of key, a tenth of the memory that a tree of one entry takes.

use std::cmp::Ordering;
use std::mem;

/// From so many entries on, what is added is put into its places in one go: one by one, each would move half of the list.
pub(crate) const MANY: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// What stands there, or is put there.
    pub(crate) fn at(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let place = self.place(|held| held.cmp(&key));
        self.at_place(place, || (key, new()))
    }

    /// The same; the key is made where there is none like it yet.
    pub(crate) fn at_like(
        &mut self,
        like: impl Fn(&K) -> Ordering,
        new: impl FnOnce() -> (K, V),
    ) -> &mut V {
        let place = self.place(like);
        self.at_place(place, new)
    }

    fn at_place(&mut self, place: Result<usize, usize>, new: impl FnOnce() -> (K, V)) -> &mut V {
        let place = place.unwrap_or_else(|place| {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, new());
            place
        });
        &mut self.0[place].1
    }

    fn place(&self, like: impl Fn(&K) -> Ordering) -> Result<usize, usize> {
        match self.0.last() {
            // Much comes in order.
            Some((last, _)) if like(last).is_lt() => Err(self.0.len()),
            Some(_) | None => self.0.binary_search_by(|(held, _)| like(held)),
        }
    }

    /// Adds all of these, in any order.
    pub(crate) fn add_all(
        &mut self,
        others: impl ExactSizeIterator<Item = (K, V)>,
        add: impl Fn(&mut V, V),
    ) where
        V: Default,
    {
        if others.len() < MANY {
            for (key, value) in others {
                add(self.at(key, V::default), value);
            }
            return;
        }
        let mut others: Vec<(K, V)> = others.collect();
        others.sort_by(|(one, _), (other, _)| one.cmp(other));
        let places: Vec<_> =
            others.iter().map(|(key, _)| self.place(|held| held.cmp(key))).collect();
        let mine = mem::take(&mut self.0);
        let mut merged: Vec<(K, V)> = Vec::with_capacity(mine.len() + others.len());
        let (mut mine, mut moved) = (mine.into_iter(), 0);
        for ((key, value), place) in others.into_iter().zip(places) {
            let earlier = place.map_or_else(|place| place, |place| place + 1);
            merged.extend(mine.by_ref().take(earlier - moved));
            moved = earlier;
            match merged.last_mut() {
                Some((last, held)) if *last == key => add(held, value),
                Some(_) | None => merged.push((key, value)),
            }
        }
        merged.extend(mine);
        self.0 = merged;
    }
}

impl<K, V> Sorted<K, V> {
    /// In order of key.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Those whose key comes after all of which this holds.
    pub(crate) fn after(&self, is_before: impl Fn(&K) -> bool) -> impl Iterator<Item = (&K, &V)> {
        let first = self.0.partition_point(|(key, _)| is_before(key));
        self.0[first..].iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(
            parts in prop::collection::vec(prop::collection::vec((0..60_u8, 1..9_u64), 0..40), 0..6),
            one_by_one in any::<bool>(),
        ) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeMap::new());
            for part in parts {
                for (key, more) in &part {
                    *tree.entry(*key).or_insert(0) += more;
                }
                if one_by_one {
                    for (key, more) in part {
                        *sorted.at_like(|held: &u8| held.cmp(&key), || (key, 0)) += more;
                    }
                } else {
                    sorted.add_all(part.into_iter(), |held, more| *held += more);
                }
            }
            prop_assert!(sorted.iter().eq(tree.iter()));
            prop_assert!(sorted.after(|key| *key < 30).eq(tree.range(30..)));
        }
    }
}
