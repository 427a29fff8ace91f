//! The real pipeline in a world where anything may fail, before its effect or after it, hang, or stop.
//!
//! A run is a number: its faults, its traffic and the order in which everything happens follow from
//! it. `TREEHOOK_MODEL_SEED=n` repeats one run and prints what happened in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod checker;
mod life;
mod operation;
mod queue;
mod run;
mod sim;
mod store;
mod traffic;
mod weather;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use run::{Outcome, run};
use world::Flaw;

/// How many runs a test makes: enough that what happens once in ten thousand happens.
const RUNS: u64 = 100_000;
/// How many runs a flaw may hide for: a checker that needs more is no checker.
const RUNS_TO_FIND_A_FLAW: u64 = 2_000;

/// What kept a run's promises from being kept, with the number that repeats it.
fn complaint(seed: u64, outcome: &Outcome) -> String {
    let mut text =
        format!("run {seed} broke its promises; TREEHOOK_MODEL_SEED={seed} repeats it\n");
    for broken in &outcome.broken {
        text.push_str(broken);
        text.push('\n');
    }
    text
}

/// Runs on every core until a run breaks a promise.
fn any_broken() -> Option<(u64, Outcome)> {
    let next = AtomicU64::new(0);
    let broken = std::sync::Mutex::new(None);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= RUNS || broken.lock().unwrap().is_some() {
                        return;
                    }
                    let outcome = run(seed, Flaw::None, false);
                    if !outcome.broken.is_empty() {
                        *broken.lock().unwrap() = Some((seed, outcome));
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap()
}

#[test]
fn a_hundred_thousand_runs_keep_every_promise() {
    if let Ok(text) = std::env::var("TREEHOOK_MODEL_SEED") {
        let seed = text.parse().expect("TREEHOOK_MODEL_SEED is a number");
        let outcome = run(seed, Flaw::None, true);
        for line in &outcome.trace {
            println!("{line}");
        }
        assert!(outcome.broken.is_empty(), "{}", complaint(seed, &outcome));
        return;
    }
    if let Some((seed, outcome)) = any_broken() {
        panic!("{}", complaint(seed, &outcome));
    }
}

#[test]
fn a_seed_repeats_its_run_step_by_step() {
    for seed in 0..200 {
        let (first, second) = (run(seed, Flaw::None, true), run(seed, Flaw::None, true));
        assert_eq!(first.trace, second.trace, "run {seed}");
    }
}

#[test]
fn the_runs_meet_what_they_are_made_for() {
    let traces: Vec<String> =
        (0..2_000).flat_map(|seed| run(seed, Flaw::None, true).trace).collect();
    for what in [
        "accepted Queued",
        "accepted Spooled",
        "sent again",
        "gave up",
        "Broker fails before",
        "Broker fails after",
        "Broker hangs, then it happens",
        "Disk fails before",
        "Database fails after",
        "Database hangs",
        "dies",
        "is told to stop",
        "loses its session",
        "buried",
        "duplicate",
        "late effect",
        "announced",
        "gets everything back",
        "ping on Database",
    ] {
        let times = traces.iter().filter(|line| line.contains(what)).count();
        assert!(times > 20, "`{what}` happened {times} times in 2,000 runs");
    }
}

#[test]
fn every_flaw_is_caught() {
    for (flaw, sign) in [
        (Flaw::CountsDuplicates, "archived 1, counted"),
        (Flaw::CommitsKeysFirst, "counted 0"),
        (Flaw::SettlesFirst, "counted 0"),
        (Flaw::AnswersAtOnce, "counted 0"),
        (Flaw::NeverSettles, "left in"),
        (Flaw::BuriesTheTransient, "dead letter"),
    ] {
        // A flaw breaks more promises than one, and not all of them in each run.
        let is_caught = |seed| complaint(seed, &run(seed, flaw, false)).contains(sign);
        let caught = (0..RUNS_TO_FIND_A_FLAW).any(is_caught);
        assert!(caught, "{flaw:?}: no `{sign}` in {RUNS_TO_FIND_A_FLAW} runs");
    }
}
