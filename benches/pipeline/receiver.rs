//! What a delivery costs the receiver before anything is sent, in instructions: the same on every
//! machine and at any load, so that a change for the worse is seen at once.

use std::process::Stdio;

use tokio::process::Command;
use treehook_event::{Timestamp, encode_event};

use crate::Bench;
use crate::deliveries::{Deliveries, body};
use crate::table::Target;

/// Instructions per delivery, at most: what it came to when this was last looked at, and a tenth.
const INSTRUCTIONS_MAX: f64 = 93_000.0;
/// Deliveries of the shorter and of the longer run; what both have in common is not counted.
const COUNTS: [u64; 2] = [200, 1200];
/// Any moment will do, as long as it is always the same.
const AT_MS: i64 = 1_795_176_000_000;

pub(crate) async fn measure(bench: &mut Bench) {
    let what = "verify, parse and encode a delivery, instructions";
    if !std::path::Path::new("/usr/bin/valgrind").exists() {
        bench.table.add(what, f64::NAN, "valgrind is not installed", Target::None);
        return;
    }
    let (short, long) = (instructions(COUNTS[0]).await, instructions(COUNTS[1]).await);
    let each = (long - short) / (COUNTS[1] - COUNTS[0]) as f64;
    bench.table.add(what, each, format!("{each:.0}"), Target::AtMost(INSTRUCTIONS_MAX));
}

/// What valgrind counts for a process that takes in so many deliveries.
async fn instructions(deliveries: u64) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["deliver", &deliveries.to_string()])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :")).expect("a count");
    line.1.trim().parse().unwrap()
}

/// What the child does: the receiver's own work, over and over.
pub(crate) fn deliver(count: u64) {
    let deliveries = Deliveries::new();
    // Signing is the sender's work: one delivery, signed once, taken in many times.
    let at = Timestamp::from_millis(AT_MS);
    let body = body(1, at);
    let headers = deliveries.headers(&body, at);
    for _ in 0..count {
        for event in deliveries.accept_signed(&headers, &body, at) {
            std::hint::black_box(encode_event(&event));
        }
    }
}
