//! What is promised, under fire: a broken cluster, outages without end, restarts by the hundred, and peers who mean harm.
//!
//! `make fire` runs all of it, in about an hour. What takes longer than 40 s is ignored otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]
#![expect(clippy::print_stdout, reason = "these tests measure, and say what they measured")]

mod backlog;
#[path = "../chaos/balancer.rs"]
mod balancer;
mod cluster;
mod figures;
mod hostile;
mod nodes;
mod outage;
mod restarts;
mod sender;
mod timing;

#[path = "../it"]
#[expect(dead_code, unused_imports, reason = "the stories use more of it")]
mod it {
    pub(crate) mod harness;
    pub(crate) mod traffic;
}

use it::{harness, traffic};
use tokio::sync::Mutex;

/// One at a time: two would share the cores, and each wants servers of its own.
static TURN: Mutex<()> = Mutex::const_new(());
