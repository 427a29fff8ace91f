//! Threads beside the process's own: the front door's, those that give way to it, and those that wait for a core.

use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::setpriority_process;
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use treehook_event::Failure;

/// How nice those are that give way: while the front door could use every core, a tenth of one is left to
/// them; otherwise they have all that they can use.
const NICENESS: i32 = 10;

/// A runtime of its own, until it is dropped.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    /// For what may wait in a queue, so that the front door need not: one thread. What is started from there, such
    /// as the threads of SQLite's connections and those that decode, is as nice.
    pub(crate) fn that_give_way() -> Result<Self, Failure> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("background").on_thread_start(give_way);
        Self::start(builder)
    }

    /// For what may wait for seconds: the same, and they run while nobody else wants the core. Whoever wakes up on it
    /// has it at once, and not at the end of a slice of some milliseconds.
    pub(crate) fn that_wait() -> Result<Self, Failure> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("waiting").on_thread_start(|| {
            wait_for_a_core();
            give_way();
        });
        Self::start(builder)
    }

    /// For the front door and the connection that it publishes over: nothing that others ask of this process
    /// holds a delivery up there. SQLite and the broker's connection have threads of their own beside these.
    pub(crate) fn of_the_front() -> Result<Self, Failure> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(all_cores_but_one()).thread_name("front");
        Self::start(builder)
    }

    fn start(mut builder: Builder) -> Result<Self, Failure> {
        let runtime = builder.enable_all().build();
        Ok(Self(Some(runtime.map_err(|error| Failure::fatal("threads", error))?)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    /// Awaits something there.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        run_on(self.handle(), task).await
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting for its threads would block the runtime that this is dropped in.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts something on other threads. It ends with whoever awaits it.
pub(crate) fn run_on<T, F>(
    threads: &Handle,
    task: F,
) -> impl Future<Output = Result<T, Failure>> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let running = AbortOnDropHandle::new(threads.spawn(task));
    async { running.await.unwrap_or_else(|error| Err(Failure::fatal("panic", error))) }
}

/// This thread, and those that it starts.
fn give_way() {
    // Linux keeps a priority for each thread, and this one's is not the process's.
    if let Err(error) = setpriority_process(None, NICENESS) {
        warn!("the worker is as urgent as the front door: {error}");
    }
}

/// This thread, and those that it starts. Nobody may take that back without a privilege.
#[cfg(target_os = "linux")]
fn wait_for_a_core() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let outcome = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    // It goes on to reset how nice the thread is, which means nothing beside this policy, and may be forbidden.
    if thread_schedule_policy() != Ok(idle) {
        warn!("the worker takes a share of the cores: {outcome:?}");
    }
}

#[cfg(not(target_os = "linux"))]
fn wait_for_a_core() {}

/// Threads that leave a core to what works beside them, a database mostly: one on each of two cores would
/// wake each other and stand in its way.
pub(crate) fn all_cores_but_one() -> usize {
    available_parallelism().map_or(1, |cores| NonZero::get(cores).saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    fn niceness() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn those_that_give_way_and_those_they_start_are_nice_and_no_others() {
        let ours = niceness();
        let nicest = NICENESS.max(ours);
        for (threads, expected) in
            [(Threads::that_give_way(), nicest), (Threads::of_the_front(), ours)]
        {
            let theirs = async {
                let started_there = std::thread::spawn(niceness).join().unwrap();
                Ok([niceness(), started_there])
            };
            assert_eq!(threads.unwrap().run(theirs).await.unwrap(), [expected, expected]);
        }
        assert_eq!(niceness(), ours);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn those_that_wait_and_those_they_start_have_what_nobody_else_wants() {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let theirs = async {
            let started_there = std::thread::spawn(thread_schedule_policy).join().unwrap();
            Ok([thread_schedule_policy().unwrap(), started_there.unwrap()])
        };
        assert_eq!(Threads::that_wait().unwrap().run(theirs).await.unwrap(), [idle, idle]);
        assert_ne!(thread_schedule_policy().unwrap(), idle);
    }
}
