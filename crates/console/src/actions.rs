//! What the console can have done: the deeds that need more than the store.

use std::future::Future;
use std::pin::Pin;

use treehook_event::{DeadLetter, Failure};

type Redriven = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
pub(crate) type Redrive = Box<dyn Fn(Vec<DeadLetter>) -> Redriven + Send + Sync>;

/// What this process can do when somebody asks for it.
#[derive(Default)]
pub struct Actions {
    pub(crate) redrive: Option<Redrive>,
}

impl Actions {
    /// Nothing but reading and discarding.
    pub fn none() -> Self {
        Self::default()
    }

    /// Redrives dead letters: publishes their events again and, once that is durable, removes the
    /// letters, each only if it was not buried again meanwhile. Repeating it is safe, since events
    /// are deduplicated where they are counted.
    pub fn redriving<F, R>(redrive: F) -> Self
    where
        F: Fn(Vec<DeadLetter>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self { redrive: Some(Box::new(move |letters| Box::pin(redrive(letters)))) }
    }
}
