//! The data directory: whether it is there, can be written to, has room; who holds it; what waits in it.

use std::path::Path;

use bytesize::ByteSize;
use tokio::time::timeout;
use treehook_event::Failure;
use treehook_sqlite::{Depth, Queue, QueueLimits};

use super::WAIT;
use super::finding::Finding;
use crate::config::Config;
use crate::datadir;
use crate::vitals::oldest_seconds;

/// An event that waits longer is not on its way but stuck.
const OLDEST_SECONDS_MAX: f64 = 300.0;

/// Everything about the directory.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let dir = &config.data_dir;
    if !dir.is_dir() {
        let place = dir.display();
        return vec![if dir.exists() {
            Finding::fail("data_dir", format!("{place} is no directory"), "set TREEHOOK_DATA_DIR")
        } else {
            Finding::warn(
                "data_dir",
                format!("{place} is not there yet; it is made at the first start"),
                "if treehook has run before, set TREEHOOK_DATA_DIR to the directory that it used",
            )
        }];
    }
    let mut findings = vec![writable(dir)];
    let is_held = datadir::is_held(dir);
    findings.push(Finding::ok(
        "lock",
        if is_held { "a treehook works on it" } else { "no treehook works on it" },
    ));
    let depth = depth(config).await;
    findings.push(room(config, depth.as_ref().ok().and_then(Option::as_ref)));
    findings.extend(outbox(config, is_held, depth));
    findings
}

fn writable(dir: &Path) -> Finding {
    let place = dir.display();
    // Removed as soon as it is dropped.
    match tempfile::tempfile_in(dir) {
        Ok(_) => Finding::ok("data_dir", format!("{place} can be written to")),
        Err(error) => Finding::fail(
            "data_dir",
            format!("{place} cannot be written to: {error}"),
            "give it to the user that treehook runs as, or set TREEHOOK_DATA_DIR to another one",
        ),
    }
}

/// Whether the outbox can grow to its limit before the disk is full.
fn room(config: &Config, depth: Option<&Depth>) -> Finding {
    let free = match rustix::fs::statvfs(&config.data_dir) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return Finding::warn("disk", format!("cannot be asked: {error}"), "look with `df`");
        }
    };
    let held = depth.map_or(0, |depth| depth.bytes);
    room_for(free, config.outbox_max.saturating_sub(held))
}

/// Free bytes against those that the outbox may still take.
fn room_for(free: u64, wanted: u64) -> Finding {
    /// About what the largest deliveries need: below it nothing can be spooled for long.
    const LEAST: u64 = 64 << 20;
    let (free_text, wanted_text) = (ByteSize(free), ByteSize(wanted));
    if free < LEAST {
        return Finding::fail("disk", format!("{free_text} free"), "make room");
    }
    if free < wanted {
        return Finding::warn(
            "disk",
            format!("{free_text} free, the outbox may take {wanted_text} more"),
            "make room, or lower TREEHOOK_OUTBOX_MAX: a full disk is worse than a full outbox",
        );
    }
    Finding::ok("disk", format!("{free_text} free, the outbox may take {wanted_text} more"))
}

/// What waits in the queue or outbox; none when there is none.
async fn depth(config: &Config) -> Result<Option<Depth>, Failure> {
    if !config.data_dir.join("queue.db").is_file() {
        return Ok(None);
    }
    let limits = QueueLimits { max_bytes: config.outbox_max };
    let asking = async {
        let queue = Queue::open(&config.data_dir, limits).await?;
        queue.depth().await.map(Some)
    };
    let late = || Failure::transient("timeout", format!("no answer within {WAIT:?}"));
    timeout(WAIT, asking).await.unwrap_or_else(|_| Err(late()))
}

fn outbox(
    config: &Config,
    is_held: bool,
    depth: Result<Option<Depth>, Failure>,
) -> Option<Finding> {
    let name = if config.amqp_url.is_some() { "outbox" } else { "queue" };
    let depth = match depth {
        Ok(None) => return None,
        Ok(Some(depth)) => depth,
        Err(failure) => {
            let what = format!("cannot be read: {}", failure.cause().detail);
            return Some(Finding::fail(name, what, "is the disk full, or the file damaged?"));
        }
    };
    Some(waiting(name, config, is_held, &depth))
}

fn waiting(name: &'static str, config: &Config, is_held: bool, depth: &Depth) -> Finding {
    let oldest = oldest_seconds(depth).unwrap_or(0.0);
    let what = format!(
        "{} events wait, {}, the oldest for {oldest:.0} s",
        depth.events,
        ByteSize(depth.bytes)
    );
    if depth.bytes >= config.outbox_max {
        let remedy = "bring back what drains it, or raise TREEHOOK_OUTBOX_MAX";
        Finding::fail(name, format!("full: {what}"), remedy)
    } else if depth.events > 0 && !is_held {
        let remedy = "start treehook on this directory, or `treehook work --outbox` on it";
        Finding::warn(name, format!("{what}, and no treehook is here to take them on"), remedy)
    } else if oldest > OLDEST_SECONDS_MAX {
        let remedy = "look at the broker and the database: what drains it is stuck";
        Finding::warn(name, what, remedy)
    } else if depth.bytes >= config.outbox_max / 10 * 8 {
        Finding::warn(name, format!("nearly full: {what}"), "raise TREEHOOK_OUTBOX_MAX")
    } else if depth.events == 0 {
        Finding::ok(name, "empty")
    } else {
        Finding::ok(name, what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_disk_is_judged_by_what_the_outbox_may_still_take() {
        for (free, wanted, grade) in [
            (10 << 30, 1 << 30, Grade::Ok),
            (1 << 30, 10 << 30, Grade::Warn),
            (1 << 20, 0, Grade::Fail),
        ] {
            assert_eq!(room_for(free, wanted).grade, grade, "{free} {wanted}");
        }
    }
}
