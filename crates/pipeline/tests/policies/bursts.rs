//! When counting rests, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use treehook_event::{Event, Failure, Handler};
use treehook_pipeline::BurstFirst;

use crate::setup::event;

/// What a batch takes.
const TOOK: Duration = Duration::from_millis(100);

/// Takes its time over each batch, whatever it holds. Fails where it holds nothing.
#[derive(Default)]
struct Steady {
    is_at_work: Arc<AtomicBool>,
}

impl Handler<Event> for Steady {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        self.is_at_work.store(true, Ordering::Relaxed);
        sleep(TOOK).await;
        self.is_at_work.store(false, Ordering::Relaxed);
        if events.is_empty() { Err(Failure::poison("invalid_data", "nothing")) } else { Ok(()) }
    }

    async fn bury(&self, _event: &Event, _reason: &str) -> Result<(), Failure> {
        unreachable!("nothing is at fault")
    }

    async fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }
}

struct Counting {
    accepted: Arc<AtomicU64>,
    is_at_work: Arc<AtomicBool>,
    handler: BurstFirst<Steady>,
    batch: Vec<Event>,
}

impl Counting {
    /// Batches of ten events.
    fn new() -> Self {
        let accepted = Arc::new(AtomicU64::new(7));
        let batch = (0..10).map(|number| event(&number.to_string())).collect();
        let steady = Steady::default();
        let is_at_work = Arc::clone(&steady.is_at_work);
        let handler = BurstFirst::new(steady, Arc::clone(&accepted));
        Self { accepted, is_at_work, handler, batch }
    }

    /// How long a batch takes, in milliseconds, while so many events come in every hundredth of a second.
    async fn batch(&self, coming: u64) -> u128 {
        self.batch_that_holds_up(coming, coming).await
    }

    /// The same, while fewer come in beside whoever counts.
    async fn batch_that_holds_up(&self, coming: u64, beside: u64) -> u128 {
        let started = Instant::now();
        tokio::select! {
            outcome = self.handler.handle(&self.batch) => outcome.unwrap(),
            () = self.come_in(coming, beside) => unreachable!("it goes on for ever"),
        }
        started.elapsed().as_millis()
    }

    /// What so many bring while nothing is counted, for as long as a batch takes.
    async fn pass(&self, coming: u64) {
        tokio::select! {
            () = sleep(TOOK) => (),
            () = self.come_in(coming, coming) => unreachable!("it goes on for ever"),
        }
    }

    async fn come_in(&self, coming: u64, beside: u64) {
        loop {
            sleep(Duration::from_millis(10)).await;
            let is_at_work = self.is_at_work.load(Ordering::Relaxed);
            self.accepted.fetch_add(if is_at_work { beside } else { coming }, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counting_that_keeps_up_never_rests() {
    let counting = Counting::new();
    for _ in 0..20 {
        assert_eq!(counting.batch(1).await, 100);
    }
}

#[tokio::test(start_paused = true)]
async fn counting_rests_while_more_comes_in_than_it_can_count() {
    let counting = Counting::new();
    assert_eq!(counting.batch(3).await, 100, "nothing is known of it yet");
    for _ in 0..20 {
        assert_eq!(counting.batch(3).await, 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_counting_holds_up_is_one_all_the_same() {
    let counting = Counting::new();
    counting.batch(3).await;
    for _ in 0..20 {
        assert_eq!(counting.batch_that_holds_up(3, 1).await, 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn counting_rests_where_it_could_keep_up_with_what_it_holds_up() {
    let counting = Counting::new();
    assert_eq!(counting.batch_that_holds_up(1, 0).await, 100, "nothing is known of it yet");
    for _ in 0..20 {
        counting.pass(1).await;
        assert_eq!(counting.batch_that_holds_up(1, 0).await, 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_night_does_not_hide_the_burst_after_it() {
    let batch = (0..100).map(|number| event(&number.to_string())).collect();
    let counting = Counting { batch, ..Counting::new() };
    assert_eq!(counting.batch_that_holds_up(10, 5).await, 100);
    sleep(Duration::from_hours(8)).await;
    assert_eq!(counting.batch_that_holds_up(10, 5).await, 100, "nothing is known of it yet");
    counting.pass(10).await;
    assert_eq!(counting.batch_that_holds_up(10, 5).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn counting_beside_which_as_much_comes_in_as_without_it_never_rests() {
    let counting = Counting::new();
    for _ in 0..20 {
        assert_eq!(counting.batch(1).await, 100);
        counting.pass(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_with_the_burst() {
    let counting = Counting::new();
    counting.batch(30).await;
    assert_eq!(counting.batch(30).await, 1000);
    assert_eq!(counting.batch(0).await, 120, "one look");
    // What came in before is not forgotten at once.
    for _ in 0..5 {
        counting.batch(1).await;
    }
    assert_eq!(counting.batch(1).await, 100);
}

#[tokio::test(start_paused = true)]
async fn batches_beside_each_other_keep_up_together() {
    let counting = Counting::new();
    for _ in 0..20 {
        let (one, other) = tokio::join!(counting.batch(1), counting.batch(1));
        assert_eq!((one, other), (100, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_says_nothing_of_the_pace() {
    let counting = Counting::new();
    counting.accepted.fetch_add(1000, Ordering::Relaxed);
    let failing = async {
        let failed = counting.handler.handle(&[]).await;
        assert_eq!(failed, Err(Failure::poison("invalid_data", "nothing")));
    };
    tokio::join!(failing, async {
        sleep(TOOK / 2).await;
        counting.accepted.fetch_add(1000, Ordering::Relaxed);
    });
    assert_eq!(counting.batch(1).await, 100);
}
