//! An event that kills whoever counts it, for the test of what becomes of such an event.

use treehook_event::{Event, Failure, Handler};

/// Holds the text that makes an event deadly.
const MARKER: &str = "TREEHOOK_TEST_DEADLY_MARKER";

/// Aborts the process once it is to handle an event whose payload holds the marker.
pub(crate) struct Deadly<H> {
    inner: H,
    marker: Option<String>,
}

impl<H> Deadly<H> {
    /// Harmless unless the environment names a marker.
    pub(crate) fn around(inner: H) -> Self {
        Self { inner, marker: std::env::var(MARKER).ok() }
    }

    fn is_deadly(&self, event: &Event) -> bool {
        self.marker.as_ref().is_some_and(|marker| event.payload.contains(marker))
    }
}

impl<H: Handler> Handler for Deadly<H> {
    async fn handle(&self, events: &[Event]) -> Result<(), Failure> {
        if events.iter().any(|event| self.is_deadly(event)) {
            std::process::abort();
        }
        self.inner.handle(events).await
    }

    async fn bury(&self, event: &Event, reason: &str) -> Result<(), Failure> {
        self.inner.bury(event, reason).await
    }

    async fn ready(&self) -> Result<(), Failure> {
        self.inner.ready().await
    }
}
