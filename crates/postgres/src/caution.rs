//! Whether a batch is looked up in the archive before it is copied into it.

use std::sync::atomic::{AtomicU32, Ordering};

/// Batches in a row without a duplicate, after which the next is copied without a look. A copy that meets a
/// duplicate is taken back and was for nothing; a look costs a sixth of what an event does. So what
/// duplicates cost at worst is one batch's room in ten, until the server's vacuum, and a line in its log.
const CLEAN_BATCHES: u32 = 10;

/// Senders repeat themselves for a while and then hardly at all: as long as they do, each batch is looked up.
/// Only ever a hint.
#[derive(Debug)]
pub(crate) struct Caution(AtomicU32);

impl Default for Caution {
    /// Cautious: what a worker had in hand when it died comes again to its successor.
    fn default() -> Self {
        Self(AtomicU32::new(CLEAN_BATCHES))
    }
}

impl Caution {
    /// Whether to look first.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// What a batch brought.
    pub(crate) fn saw(&self, duplicates: bool) {
        if duplicates {
            self.0.store(CLEAN_BATCHES, Ordering::Relaxed);
        } else {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_duplicates_and_comes_back_with_them() {
        let caution = Caution::default();
        for _ in 0..2 {
            for _ in 0..CLEAN_BATCHES {
                assert!(caution.is_due());
                caution.saw(false);
            }
            assert!(!caution.is_due());
            caution.saw(false);
            assert!(!caution.is_due());
            caution.saw(true);
        }
        assert!(caution.is_due());
    }
}
