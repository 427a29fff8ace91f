//! Keeps the connection that is published on: rebuilds it for ever, and tells what stands.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Event;
use metrics::counter;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use treehook_event::{Cause, Failure};

use crate::backoff::Backoff;
use crate::broker::Core;
use crate::link::Link;
use crate::state::Standing;

/// How often the connection is looked at, in case its end was not announced.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The supervisor of the connection that is published on; does nothing until it is run.
#[must_use = "nothing is published unless it runs"]
pub struct BrokerTask {
    core: Arc<Core>,
    stop: CancellationToken,
    known: Option<&'static str>,
}

/// Whether the broker answered, and would not have us.
fn is_refusal(reason: &str) -> bool {
    matches!(reason, "broker_refused" | "broker_missing")
}

impl BrokerTask {
    pub(crate) fn new(core: Arc<Core>, stop: CancellationToken) -> Self {
        Self { core, stop, known: None }
    }

    /// Keeps a connection until told to stop. Fails only where the broker holds a queue or an
    /// exchange that this version cannot work with, or refuses the credentials or the virtual host
    /// of the very first connection.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        let mut connected_before = false;
        while !self.stop.is_cancelled() {
            match self.attempt().await {
                None => break,
                Some(Ok(link)) => {
                    if std::mem::replace(&mut connected_before, true) {
                        counter!("treehook_broker_reconnects_total").increment(1);
                    }
                    if self.serve(link).await {
                        backoff.reset();
                    }
                }
                Some(Err(Failure::Fatal(cause))) => {
                    self.core.board.set(Standing::Down(Some(cause.clone())));
                    return Err(Failure::Fatal(cause));
                }
                // Refused before it was ever let in: the configuration is wrong, and waiting mends
                // nothing. Later it may be a broker that is being restored.
                Some(Err(Failure::Transient(cause)))
                    if !connected_before && is_refusal(cause.reason) =>
                {
                    self.core.board.set(Standing::Down(Some(cause.clone())));
                    return Err(Failure::Fatal(cause));
                }
                Some(Err(Failure::Transient(cause) | Failure::Poison(cause))) => self.down(cause),
            }
            tokio::select! {
                () = self.stop.cancelled() => (),
                () = sleep(backoff.next()) => (),
            }
        }
        self.core.board.set(Standing::Down(None));
        Ok(())
    }

    /// One attempt to connect; none when told to stop meanwhile.
    async fn attempt(&self) -> Option<Result<Arc<Link>, Failure>> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            attempt = Link::connect(&self.core.settings, "publish") => Some(attempt.map(Arc::new)),
        }
    }

    /// Says once, not every two seconds, why there is no connection.
    fn down(&mut self, cause: Cause) {
        if self.known.replace(cause.reason) == Some(cause.reason) {
            debug!("still no connection to the broker: {cause}");
        } else {
            warn!(reason = cause.reason, "no connection to the broker: {}", cause.detail);
        }
        self.core.board.set(Standing::Down(Some(cause)));
    }

    /// Watches a connection to its end. Says whether it was a good one.
    async fn serve(&mut self, link: Arc<Link>) -> bool {
        self.known = None;
        info!("connected to the broker");
        let mut events = pin!(link.events());
        // Listening first: what is announced from here on is heard, what was before is seen.
        self.stands(&link);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.core.board.set(Standing::Down(None));
                    link.say_goodbye(self.core.settings.timeouts.close).await;
                    return true;
                }
                () = link.given_up() => break,
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        warn!("the broker takes no events for now: {reason}");
                        self.stands(&link);
                    }
                    Some(Event::ConnectionUnblocked) => {
                        info!("the broker takes events again");
                        self.stands(&link);
                    }
                    // Told of channels too: only the connection's own state says which.
                    Some(_) if link.is_connected() => (),
                    Some(_) | None => break,
                },
                _ = look.tick() => if !link.is_connected() { break },
            }
        }
        warn!("the connection to the broker is lost");
        let cause = Cause { reason: "broker_down", detail: "the connection was lost".to_owned() };
        self.known = Some(cause.reason);
        self.core.board.set(Standing::Down(Some(cause)));
        link.was_good()
    }

    fn stands(&self, link: &Arc<Link>) {
        self.core.board.set(if link.is_blocked() {
            Standing::Blocked
        } else {
            Standing::Up(Arc::clone(link))
        });
    }
}
