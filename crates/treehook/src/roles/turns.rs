//! The embedded worker's turns: it works on what the cores have left, and where that is too little for seconds on end
//! on threads that have a share of their own.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use treehook_event::Failure;

/// How often somebody looks how long events wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long they may, while they wait longer and longer: a burst at the front door is over by then, or it is none.
const LATE: Duration = Duration::from_secs(5);
/// How long the worker keeps its share, at least: whoever took all cores may do so again.
const INSISTENT_FOR: Duration = Duration::from_mins(10);

/// What of the cores the worker is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// What nobody else wants.
    Patient,
    /// A share.
    Insistent,
}

/// Works, turn by turn, until told to stop. `work` ends once its token is cancelled, and whatever it has not settled
/// then comes again. `waits` says for how long the oldest event has waited to be counted.
pub(super) async fn take_turns<W, D>(
    stop: &CancellationToken,
    work: impl Fn(Mood, CancellationToken) -> W,
    waits: impl Fn() -> D,
) -> Result<(), Failure>
where
    W: Future<Output = Result<(), Failure>>,
    D: Future<Output = Duration>,
{
    let mut mood = Mood::Patient;
    loop {
        let turn = stop.child_token();
        let mut working = pin!(work(mood, turn.clone()));
        tokio::select! {
            ended = working.as_mut() => return ended,
            () = over(mood, &waits) => turn.cancel(),
        }
        let ended = working.await;
        if stop.is_cancelled() {
            return ended;
        }
        if let Err(failure) = ended {
            // The next turn meets it again, if it lasts.
            let cause = failure.cause();
            warn!(reason = cause.reason, "a turn of the worker ended badly: {}", cause.detail);
        }
        mood = match mood {
            Mood::Patient => {
                info!("counting falls behind: the worker takes a share of the cores");
                Mood::Insistent
            }
            Mood::Insistent => {
                info!("counting has caught up: the worker gives its share of the cores back");
                Mood::Patient
            }
        };
    }
}

/// Resolves when the other mood is better.
async fn over<D: Future<Output = Duration>>(mood: Mood, waits: &impl Fn() -> D) {
    let (since, mut before) = (Instant::now(), Duration::MAX);
    loop {
        sleep(LOOK_EVERY).await;
        let now = waits().await;
        let is_over = match mood {
            // A backlog that shrinks needs no help.
            Mood::Patient => now >= LATE && now > before,
            Mood::Insistent => now < LOOK_EVERY && since.elapsed() >= INSISTENT_FOR,
        };
        if is_over {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Who worked, and from when on, in seconds, where events wait as long as this says at each second.
    async fn turns(waits: impl Fn(u64) -> u64, seconds: u64) -> Vec<(Mood, u64)> {
        let (started, stop) = (Instant::now(), CancellationToken::new());
        let taken = Mutex::new(Vec::new());
        let work = |mood, turn: CancellationToken| {
            taken.lock().unwrap().push((mood, started.elapsed().as_secs()));
            async move {
                turn.cancelled().await;
                Ok(())
            }
        };
        let waiting = || async { Duration::from_secs(waits(started.elapsed().as_secs())) };
        tokio::join!(async { take_turns(&stop, work, waiting).await.unwrap() }, async {
            sleep(Duration::from_secs(seconds)).await;
            stop.cancel();
        });
        taken.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_keeps_up_stays_patient() {
        assert_eq!(turns(|_| 0, 3600).await, [(Mood::Patient, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_that_shrinks_is_no_reason_to_insist() {
        assert_eq!(turns(|now| 3600 - now, 3600).await, [(Mood::Patient, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_wait_longer_and_longer_are_insisted_on_until_all_is_counted() {
        let waits = |now| if now < 1000 { now } else { 0 };
        let expected = [(Mood::Patient, 0), (Mood::Insistent, 5), (Mood::Patient, 1000)];
        assert_eq!(turns(waits, 3600).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn who_insists_does_so_for_a_while() {
        let waits = |now| if now < 10 { now } else { 0 };
        let expected = [(Mood::Patient, 0), (Mood::Insistent, 5), (Mood::Patient, 605)];
        assert_eq!(turns(waits, 3600).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_fails_ends_it() {
        let stop = CancellationToken::new();
        let work = |_, _| async { Err(Failure::fatal("test", "it fails")) };
        let outcome = take_turns(&stop, work, || async { Duration::ZERO }).await;
        assert_eq!(outcome, Err(Failure::fatal("test", "it fails")));
    }
}
