//! Batches of one process are archived one after the other.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How long a batch waits for its turn, at most. One takes a few hundredths of a second; where it takes this long, waiting for it
/// is no use to anybody.
const TURN_MAX: Duration = Duration::from_secs(5);

/// Whose turn it is. Two copies beside each other would share the cores and end at the same time, so that the server
/// waits for the worker to read, and then the worker for the server. Only ever a hint: nobody is kept out.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(1))
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
    async fn one_after_the_other_and_nobody_waits_for_ever() {
        let turns = Turns::default();
        let first = turns.take().await;
        assert!(first.is_some());
        let second = async {
            let turn = turns.take().await;
            assert!(turn.is_some(), "it comes with the end of the first");
            turn
        };
        let (second, ()) = tokio::join!(second, async { drop(first) });
        assert!(turns.take().await.is_none(), "the second has it, and no end");
        drop(second);
        assert!(turns.take().await.is_some());
    }
}
