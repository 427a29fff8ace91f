//! Threads that give way: what may wait in a queue runs there, so that the front door need not.

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::warn;
use treehook_event::Failure;

/// How nice these threads are: while the front door could use every core, a tenth of one is left to
/// them; otherwise they have all that they can use.
const NICENESS: i32 = 10;

/// A runtime of its own, on one thread. What is started from there, such as the threads of SQLite's
/// connections and those that decode, is as nice.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .on_thread_start(|| {
                // Linux keeps a priority for each thread, and this one's is not the process's.
                if let Err(error) = setpriority_process(None, NICENESS) {
                    warn!("the worker is as urgent as the front door: {error}");
                }
            })
            .enable_all()
            .build()
            .map_err(|error| Failure::fatal("threads", error))?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    /// Awaits something there.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.handle().spawn(task).await.unwrap_or_else(|error| Err(Failure::fatal("panic", error)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for its threads would block the runtime that this is dropped in.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    fn niceness() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn its_threads_and_those_they_start_are_nice_and_no_others() {
        let ours = niceness();
        let background = Background::start().unwrap();
        let theirs = background.run(async {
            let started_there = std::thread::spawn(niceness).join().unwrap();
            Ok([niceness(), started_there])
        });
        let nicest = NICENESS.max(ours);
        assert_eq!(theirs.await.unwrap(), [nicest, nicest]);
        assert_eq!(niceness(), ours);
    }
}
