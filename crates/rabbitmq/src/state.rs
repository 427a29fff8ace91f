//! Whether the broker can be published to: for health, for metrics, and for failing at once.

use std::sync::Arc;

use metrics::gauge;
use tokio::sync::watch;
use treehook_event::{Cause, Failure};

use crate::link::Link;

/// Whether the broker can be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerState {
    /// There is no connection.
    Down,
    /// There is one, and it takes events.
    Up,
    /// There is one, but the broker is short of memory or disk and takes nothing.
    Blocked,
}

/// The same, with what goes with it.
#[derive(Clone)]
pub(crate) enum Standing {
    Down(Option<Cause>),
    Up(Arc<Link>),
    Blocked,
}

/// What the supervisor knows, for everybody.
pub(crate) struct Board {
    standing: watch::Sender<Standing>,
    state: watch::Sender<BrokerState>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let board = Self {
            standing: watch::Sender::new(Standing::Down(None)),
            state: watch::Sender::new(BrokerState::Down),
        };
        board.set(Standing::Down(None));
        board
    }

    pub(crate) fn set(&self, standing: Standing) {
        let state = match &standing {
            Standing::Down(_) => BrokerState::Down,
            Standing::Up(_) => BrokerState::Up,
            Standing::Blocked => BrokerState::Blocked,
        };
        let (up, blocked) = match state {
            BrokerState::Down => (0.0, 0.0),
            BrokerState::Up => (1.0, 0.0),
            BrokerState::Blocked => (1.0, 1.0),
        };
        gauge!("treehook_broker_up").set(up);
        gauge!("treehook_broker_blocked").set(blocked);
        self.standing.send_replace(standing);
        self.state.send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    pub(crate) fn state(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    /// Why there is no connection, where that is known.
    pub(crate) fn trouble(&self) -> Option<Cause> {
        match &*self.standing.borrow() {
            Standing::Down(cause) => cause.clone(),
            Standing::Up(_) | Standing::Blocked => None,
        }
    }

    /// The connection, or at once the reason why there is none to publish on.
    pub(crate) fn link(&self) -> Result<Arc<Link>, Failure> {
        match &*self.standing.borrow() {
            Standing::Up(link) => Ok(Arc::clone(link)),
            Standing::Blocked => Err(blocked()),
            Standing::Down(cause) => Err(down(cause.as_ref())),
        }
    }

    /// Returns as soon as this connection cannot be published on.
    pub(crate) async fn lost(&self, link: &Link) -> Failure {
        let mut standing = self.standing.subscribe();
        tokio::select! {
            () = link.given_up() => down(None),
            changed = standing.wait_for(|standing| !matches!(standing, Standing::Up(_))) => {
                match changed.as_deref() {
                    Ok(Standing::Blocked) => blocked(),
                    Ok(Standing::Down(cause)) => down(cause.as_ref()),
                    Ok(Standing::Up(_)) | Err(_) => down(None),
                }
            }
        }
    }
}

fn down(cause: Option<&Cause>) -> Failure {
    let detail = cause.map_or("there is no connection", |cause| &cause.detail);
    Failure::transient("broker_down", detail)
}

fn blocked() -> Failure {
    Failure::transient("broker_blocked", "the broker is short of memory or disk")
}
