//! What a relay passes on, and when it gives way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use treehook_event::{
    Accepted, Compression, Event, Failure, Handler, Packet, Publisher, decode_batch,
};
use treehook_pipeline::{Forward, GiveWay};

use crate::setup::{event, leaked};

/// Publishes what is not poison, or does not pretend to be anything else.
#[derive(Default)]
struct Choosy(Mutex<Vec<(String, &'static str)>>);

impl Publisher for &'static Choosy {
    async fn publish(&self, events: &[Event]) -> Result<Accepted, Failure> {
        let is_poison = |event: &Event| {
            event.identity.as_str().starts_with("poison") && event.type_label() != "unfit"
        };
        if events.iter().any(is_poison) {
            return Err(Failure::poison("invalid_data", "one of them"));
        }
        let told = events.iter().map(|event| (event.identity.to_string(), event.type_label()));
        self.0.lock().unwrap().extend(told);
        Ok(Accepted::Queued)
    }
}

impl Publisher<Packet> for &'static Choosy {
    async fn publish(&self, packets: &[Packet]) -> Result<Accepted, Failure> {
        let opened = |packet: &Packet| decode_batch(&packet.body).unwrap();
        let events: Vec<Event> = packets.iter().flat_map(opened).collect();
        Publisher::<Event>::publish(self, &events).await
    }
}

#[tokio::test]
async fn of_a_packet_that_is_refused_only_what_is_at_fault_goes_on_as_unfit() {
    let names = |names: &[&str]| -> Vec<Event> { names.iter().map(|name| event(name)).collect() };
    let packets =
        [names(&["a", "b"]), names(&["c", "poison", "d"])].map(|events| Packet::pack(&events));
    let choosy = leaked(Choosy::default());
    let forward = Forward::new(choosy, metrics::Counter::noop());
    let packets = packets.concat();
    assert!(matches!(forward.handle(&packets).await, Err(Failure::Poison(_))));
    forward.handle(&packets[..1]).await.unwrap();
    Handler::<Packet>::bury(&forward, &packets[1], "invalid_data").await.unwrap();
    let published = choosy.0.lock().unwrap().clone();
    let told: Vec<(&str, &str)> = published.iter().map(|(name, label)| (&**name, *label)).collect();
    let plain = "unknown";
    assert_eq!(told, [("a", plain), ("b", plain), ("c", plain), ("poison", "unfit"), ("d", plain)]);
}

/// Takes a tenth of a second for each call, and remembers how many events it got at once.
#[derive(Default)]
struct Slow(Mutex<Vec<usize>>);

impl Handler<Packet> for &'static Slow {
    async fn handle(&self, packets: &[Packet]) -> Result<(), Failure> {
        let events = packets.iter().map(|packet| packet.events).sum();
        self.0.lock().unwrap().push(events);
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>())
            .await
            .unwrap_err();
        Ok(())
    }

    async fn bury(&self, _packet: &Packet, _reason: &str) -> Result<(), Failure> {
        unreachable!("nothing is at fault")
    }

    async fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_gives_way_to_live_traffic_and_takes_all_at_once_without() {
    let slow = leaked(Slow::default());
    let accepted = Arc::new(AtomicU64::new(5));
    let relay = GiveWay::new(slow, Arc::clone(&accepted));
    let packets = [150, 40, 60, 500].map(|events| {
        let body = Vec::new();
        Packet { routing_key: "a.b".into(), events, body, compression: Compression::None }
    });
    let handle = async || {
        let started = tokio::time::Instant::now();
        relay.handle(&packets).await.unwrap();
        (std::mem::take(&mut *slow.0.lock().unwrap()), started.elapsed().as_millis())
    };
    assert_eq!(handle().await.0, [750]);
    accepted.store(6, Ordering::Relaxed);
    let (parts, took) = handle().await;
    assert_eq!(parts, [190, 60, 500]);
    assert!(took >= 300 + 750, "each part is followed by a rest, not {took} ms in all");
    // Nothing has come since.
    let a_second = Duration::from_secs(1);
    tokio::time::timeout(a_second, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(handle().await.0, [750]);
}
