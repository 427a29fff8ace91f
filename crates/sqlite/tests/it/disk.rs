//! A queue on a small disk: it stops while it can still be emptied.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString as _};
use tempfile::TempDir;
use treehook_event::{Consumer as _, Event, Failure, Publisher as _};
use treehook_sqlite::{Depth, Queue, QueueLimits};

use crate::sample::noon;

/// A disk of its own, until it is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None` where nobody lets us mount.
    fn mount(mebibytes: u64) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        let size = format!("size={mebibytes}m,mode=0700");
        mount.args(["-t", "tmpfs", "-o", &size, "treehook-test"]).arg(dir.path());
        let output = mount.output().ok()?;
        output.status.success().then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// Publishes until it is refused; how many batches were taken.
async fn fill(queue: &Queue) -> (u64, Failure) {
    let text = Alphanumeric.sample_string(&mut rand::rng(), 1 << 18);
    let quarter = Event::unreadable(text.as_bytes(), "large", noon());
    let mut taken = 0;
    loop {
        match queue.publish(std::slice::from_ref(&quarter)).await {
            Ok(_) => taken += 1,
            Err(refused) => return (taken, refused),
        }
    }
}

#[tokio::test]
async fn a_queue_that_has_filled_its_disk_can_be_emptied_and_filled_again() {
    // With all the room that is kept free, and with half of a disk that is smaller than that.
    for mebibytes in [64, 16] {
        if let Some(disk) = Disk::mount(mebibytes) {
            filled_and_emptied(&disk).await;
        }
    }
}

async fn filled_and_emptied(disk: &Disk) {
    // Far more than there is room for.
    let queue = Queue::open(disk.path(), QueueLimits::default()).await.unwrap();
    for round in 0..3 {
        let (taken, refused) = fill(&queue).await;
        let Failure::Transient(cause) = &refused else { panic!("{refused:?}") };
        assert_eq!(cause.reason, "disk_full", "{}", cause.detail);
        // Half of the smaller disk is kept free. In the other half every page may stand twice, in the log and in
        // the file it was moved to, as the mover happened to come by: room for 16 batches of 256 KiB, of which a
        // quarter is left to trees and to the few pages that every commit writes anew.
        assert!(taken >= 12, "round {round}: {taken}");
        let mut consumer = queue.consumer();
        let mut emptied = 0;
        while emptied < taken {
            let deliveries = consumer.receive(10, Duration::ZERO).await.unwrap();
            emptied += deliveries.len() as u64;
            let receipts = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
            consumer.settle(receipts).await.unwrap();
        }
        assert_eq!(queue.depth().await, Ok(Depth::default()), "round {round}");
    }
}
