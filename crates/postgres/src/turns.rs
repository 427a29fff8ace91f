//! How many batches of one process are archived beside each other.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// So many: while the server takes one in alone, the other core idles on a large day; beyond two they only hold memory.
const AT_ONCE: usize = 2;

/// How long a batch waits for its turn, at most. One takes a few hundredths of a second; where it takes this long, waiting for it
/// is no use to anybody.
const TURN_MAX: Duration = Duration::from_secs(5);

/// Whose turn it is. A worker has more in hand than are archived at once, so that it reads and announces some while the
/// server takes others in. Only ever a hint: nobody is kept out.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Turns {
    /// Waits for a turn, which lasts until what is answered is dropped.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN_MAX, self.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_with_the_end_of_another_and_nobody_waits_for_ever() {
        let turns = Turns::default();
        let (first, second) = (turns.take().await, turns.take().await);
        assert!(first.is_some() && second.is_some());
        let (third, ()) = tokio::join!(turns.take(), async { drop(first) });
        assert!(third.is_some(), "the first is over");
        assert!(turns.take().await.is_none(), "the second and the third have no end");
        drop(second);
        assert!(turns.take().await.is_some());
    }
}
