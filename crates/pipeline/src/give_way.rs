//! A policy over the relay's handler: what waited for hours gives way to what somebody waits for now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use treehook_event::{Failure, Handler, Packet};

/// How long after a delivery there is traffic to give way to.
const LIVE_FOR: Duration = Duration::from_secs(1);
/// Events that are passed on at once while there is: what a delivery may have to wait behind.
const EVENTS_AT_ONCE: usize = 200;
/// The rest after each, in times of what it took: a quarter of the time is the relay's. With a rest as long as
/// they took, p99 of live traffic was still 5 times what it is without a relay.
const REST: u32 = 3;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(250);

/// Passes packets on as fast as it can while nothing else is published. Beside live traffic it passes on few
/// at once, and rests after each for longer than they took: broker and processor have their own queues, and
/// a delivery should not find us in front of it everywhere.
#[derive(Debug)]
pub struct GiveWay<H> {
    inner: H,
    /// Deliveries or events that were accepted so far; whatever changes with each.
    accepted: Arc<AtomicU64>,
    /// Whoever passes something on beside live traffic does so alone.
    watch: Mutex<Watch>,
}

/// What was seen of the traffic last.
#[derive(Debug, Default)]
struct Watch {
    accepted: u64,
    changed_at: Option<Instant>,
}

impl Watch {
    fn is_live(&mut self, accepted: u64) -> bool {
        if self.accepted != accepted {
            self.accepted = accepted;
            self.changed_at = Some(Instant::now());
        }
        self.changed_at.is_some_and(|at| at.elapsed() < LIVE_FOR)
    }
}

impl<H> GiveWay<H> {
    /// Gives way while `accepted` changes.
    pub fn new(inner: H, accepted: Arc<AtomicU64>) -> Self {
        let seen = accepted.load(Ordering::Relaxed);
        let watch = Mutex::new(Watch { accepted: seen, changed_at: None });
        Self { inner, accepted, watch }
    }
}

impl<H: Handler<Packet>> Handler<Packet> for GiveWay<H> {
    async fn handle(&self, packets: &[Packet]) -> Result<(), Failure> {
        let mut rest = packets;
        while !rest.is_empty() {
            let mut watch = self.watch.lock().await;
            if !watch.is_live(self.accepted.load(Ordering::Relaxed)) {
                drop(watch);
                return self.inner.handle(rest).await;
            }
            let (few, others) = rest.split_at(few(rest));
            let started = Instant::now();
            self.inner.handle(few).await?;
            rest = others;
            sleep((started.elapsed() * REST).min(REST_MAX)).await;
        }
        Ok(())
    }

    async fn bury(&self, packet: &Packet, reason: &str) -> Result<(), Failure> {
        self.inner.bury(packet, reason).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await
    }
}

/// How many of these packets hold few events together; at least one.
fn few(packets: &[Packet]) -> usize {
    let mut events = 0;
    let fit = packets.iter().take_while(|packet| {
        events += packet.events;
        events <= EVENTS_AT_ONCE
    });
    fit.count().max(1)
}
