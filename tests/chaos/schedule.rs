//! What goes wrong, and when: all of it follows from the seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Which process: receivers first, then workers.
pub(crate) type Member = usize;

/// How many receivers there are.
pub(crate) const RECEIVERS: usize = 2;
/// How many workers there are.
pub(crate) const WORKERS: usize = 3;

/// What a process is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    RabbitMq,
    Postgres,
}

/// One thing that goes wrong. Each mends itself when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGKILL, and a new start after a while.
    Kill(Member, Duration),
    /// SIGTERM, and a new start after a while.
    Terminate(Member, Duration),
    /// One after the other, each up again before the next: receivers or workers.
    Roll { receivers: bool },
    /// The connections of one process break, and new ones too.
    Cut(Member, Server, Duration),
    /// Nothing passes on the connections of one process.
    Stall(Member, Server, Duration),
    /// The connections of everybody break.
    CutAll(Server, Duration),
    /// Nothing passes on the connections of anybody.
    StallAll(Server, Duration),
    /// RabbitMQ runs out of memory, and takes no more messages.
    Alarm(Duration),
    /// A power cut, and a new start after a while.
    Crash(Server, Duration),
    /// The disk of the first receiver is full, and it is cut off from RabbitMQ.
    Fill(Duration),
}

/// What goes wrong, in order of time.
pub(crate) struct Schedule {
    pub(crate) actions: Vec<(Duration, Action)>,
}

impl Schedule {
    /// Of everything a little, then by chance; `haste` in per cent of the usual number.
    pub(crate) fn of(seed: u64, length: Duration, haste: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut first: Vec<Action> = (0..KINDS).map(|kind| action(kind, &mut rng)).collect();
        first.shuffle(&mut rng);
        let mut actions = Vec::new();
        let mut at = Duration::from_secs(2);
        while at < length {
            let next = first.pop().unwrap_or_else(|| {
                let kind = OFTEN[rng.random_range(0..OFTEN.len())];
                action(kind, &mut rng)
            });
            actions.push((at, next));
            let gap = millis(&mut rng, 500, 3000) * 100;
            at += gap / u32::try_from(haste).unwrap().max(1);
        }
        actions.extend(full_disks(seed, length));
        actions.sort_by_key(|(at, _)| *at);
        Self { actions }
    }
}

/// By a chance of their own, so that all else that a seed stands for is what it was before.
fn full_disks(seed: u64, length: Duration) -> Vec<(Duration, Action)> {
    let mut rng = StdRng::seed_from_u64(!seed);
    let mut actions = Vec::new();
    let mut at = millis(&mut rng, 5000, 15_000);
    while at < length {
        actions.push((at, Action::Fill(millis(&mut rng, 1000, 7000))));
        at += millis(&mut rng, 10_000, 40_000);
    }
    actions
}

/// How many kinds of actions there are that come by the same chance.
const KINDS: usize = 13;
/// How often each kind comes: processes more than servers, which take seconds to start, and whose
/// absence one after the other would be an outage without end.
const OFTEN: &[usize] = &[
    0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 9, 10, 11, 12,
];

fn action(kind: usize, rng: &mut StdRng) -> Action {
    let receiver = rng.random_range(0..RECEIVERS);
    let worker = RECEIVERS + rng.random_range(0..WORKERS);
    let anybody = rng.random_range(0..RECEIVERS + WORKERS);
    let server = if rng.random_bool(0.5) { Server::RabbitMq } else { Server::Postgres };
    let down = millis(rng, 0, 2500);
    let fault = millis(rng, 300, 7000);
    match kind {
        0 => Action::Kill(receiver, down),
        1 => Action::Kill(worker, down),
        2 => Action::Terminate(receiver, down),
        3 => Action::Terminate(worker, down),
        4 => Action::Roll { receivers: true },
        5 => Action::Roll { receivers: false },
        6 => Action::Cut(anybody, server, fault),
        7 => Action::Stall(anybody, server, fault),
        8 => Action::CutAll(server, fault),
        9 => Action::StallAll(server, fault),
        10 => Action::Alarm(fault),
        11 => Action::Crash(Server::RabbitMq, down),
        _ => Action::Crash(Server::Postgres, down),
    }
}

fn millis(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

#[test]
fn a_schedule_follows_from_its_seed_and_holds_everything() {
    for seed in 1..=2 {
        let (one, two) = (
            Schedule::of(seed, Duration::from_secs(40), 100),
            Schedule::of(seed, Duration::from_secs(40), 100),
        );
        assert_eq!(one.actions, two.actions);
        let kinds: std::collections::BTreeSet<String> = one
            .actions
            .iter()
            .map(|(_, action)| format!("{action:?}").split(['(', ' ']).next().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}
