//! What must hold of the world when every fault is over and everything has drained.

use treehook_event::{Account, Balance, Counting};

use crate::traffic::{EVENTS_MAX, Fault};
use crate::world::{Place, World};

/// Every promise that was not kept.
pub(crate) fn broken_promises(world: &World) -> Vec<String> {
    let mut broken = Vec::new();
    for (place, queue) in [Place::Broker, Place::Outbox, Place::Backlog].iter().zip(&world.queues) {
        if queue.depth() > 0 {
            broken.push(format!("{} messages are left in {place:?}", queue.depth()));
        }
    }
    broken.extend(broken_ledger(world));
    for number in 0..EVENTS_MAX {
        broken.extend(broken_promise(world, number).map(|why| format!("event {number}: {why}")));
    }
    broken
}

/// Every number that was promised has an outcome, and as many count as the archive holds.
fn broken_ledger(world: &World) -> Vec<String> {
    let mut broken = Vec::new();
    let mut total = Balance::default();
    for statement in &world.journal {
        let mut account = Account::new(statement.counting.clone());
        let mut last = statement.clone();
        last.close();
        account.state(&last);
        if let Some(settled) = world.settled.get(&statement.counting) {
            account.settle(settled);
        }
        account.advance();
        total += account.balance();
        if !account.is_complete() {
            let (epoch, gaps) = (statement.counting.epoch, account.unsettled());
            broken.push(format!("ledger {epoch}: promised and not settled: {gaps}"));
        }
    }
    // Deaths may have come before anything of a counting was written down.
    let unknown =
        |counting: &Counting| world.journal.iter().all(|statement| statement.counting != *counting);
    for (_, settled) in world.settled.iter().filter(|(counting, _)| unknown(counting)) {
        total.applied += settled.applied.count();
    }
    let counted: u64 = world.entries.iter().map(|entry| u64::from(entry.counted)).sum();
    if total.applied != counted {
        broken.push(format!("ledger: {} applied, {counted} counted", total.applied));
    }
    broken
}

fn broken_promise(world: &World, number: usize) -> Option<String> {
    let (entry, story) = (world.entries[number], world.stories[number]);
    let fault = world.traffic.faults.get(number).copied().unwrap_or(Fault::None);
    let (counted, buried) = (entry.counted, entry.buried);
    if counted > u32::from(entry.is_archived) {
        return Some(format!("archived {}, counted {counted}", u32::from(entry.is_archived)));
    }
    if !story.was_sent && (counted > 0 || buried > 0) {
        return Some(format!("never sent, counted {counted}, buried {buried}"));
    }
    match fault {
        Fault::None if buried > 0 => return Some(format!("a dead letter for {fault:?}")),
        Fault::None if story.was_promised && counted != 1 => {
            return Some(format!("accepted, counted {counted}"));
        }
        Fault::None => (),
        Fault::Unfit | Fault::RefusedByDatabase | Fault::RefusedByBroker => {
            if counted > 0 {
                return Some(format!("{fault:?}, counted {counted}"));
            }
            if story.was_promised && buried == 0 {
                return Some(format!("{fault:?}, accepted, and no dead letter"));
            }
        }
    }
    match (counted, story.announced) {
        (1.., 0) => Some("counted and never announced".to_owned()),
        (0, 1..) => Some(format!("counted 0, announced {}", story.announced)),
        _ => None,
    }
}
