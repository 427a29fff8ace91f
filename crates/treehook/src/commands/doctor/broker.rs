//! The broker: whether it lets us in, whether what is declared there is what we need, what waits there.

use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use treehook_event::{Cause, Failure};
use treehook_rabbitmq::{Broker, BrokerState, Depths};

use super::WAIT;
use super::finding::Finding;
use crate::config::Config;
use crate::roles::start_broker;

/// How often the reason for no connection is asked for: it comes without an announcement.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Connects as a receiver would; that declares what is not there yet.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let stop = CancellationToken::new();
    let (broker, mut supervisor) = match start_broker(config, "doctor", stop.clone()) {
        Ok(Some(started)) => started,
        Ok(None) => return vec![Finding::ok("broker", "none: the queue is local")],
        Err(failure) => {
            let what = failure.cause().detail.clone();
            return vec![Finding::fail("broker", what, "set TREEHOOK_AMQP_URL")];
        }
    };
    let looked = tokio::select! {
        looked = timeout(WAIT, look(&broker)) => looked.unwrap_or_else(|_| Err(late())),
        ended = &mut supervisor => return vec![of_end(ended)],
    };
    stop.cancel();
    let ended = supervisor.await;
    match looked {
        Ok((state, depths)) => of_state(state, depths),
        // What cannot be mended by waiting ends the supervisor, and names itself best.
        Err(_) if ended.is_err() => vec![of_end(ended)],
        Err(cause) => vec![unreachable(&cause)],
    }
}

async fn look(broker: &Broker) -> Result<(BrokerState, Result<Depths, Failure>), Cause> {
    let mut tick = interval(LOOK_EVERY);
    loop {
        let state = *broker.state().borrow();
        if state != BrokerState::Down {
            return Ok((state, broker.queue_depth().await));
        }
        if let Some(cause) = broker.trouble() {
            return Err(cause);
        }
        tick.tick().await;
    }
}

fn late() -> Cause {
    Cause { reason: "timeout", detail: format!("no answer within {WAIT:?}") }
}

fn of_state(state: BrokerState, depths: Result<Depths, Failure>) -> Vec<Finding> {
    if state == BrokerState::Blocked {
        return vec![blocked()];
    }
    let topology = Finding::ok("topology", "exchanges and queues are declared as expected");
    let waiting = match depths {
        Ok(Depths { aggregate, dead: 0 }) => {
            Finding::ok("broker", format!("answers; {aggregate} messages wait"))
        }
        Ok(Depths { aggregate, dead }) => Finding::warn(
            "broker",
            format!("answers; {aggregate} messages wait, and it gave up on {dead}"),
            "start a worker: it buries those as dead letters, with their reason",
        ),
        Err(failure) => Finding::warn(
            "broker",
            format!("answers, but does not count its queues: {}", failure.cause().detail),
            "look at its own pages and its log",
        ),
    };
    vec![waiting, topology]
}

/// Publishers are stopped by an alarm.
pub(super) fn blocked() -> Finding {
    Finding::fail(
        "broker",
        "it is short of memory or disk and takes nothing; deliveries go to the outbox",
        "make room there: `rabbitmq-diagnostics alarms` names the node",
    )
}

fn unreachable(cause: &Cause) -> Finding {
    let remedy = match cause.reason {
        "broker_refused" => "check user, password and virtual host in TREEHOOK_AMQP_URL",
        _ => "is it running, and reachable from here at TREEHOOK_AMQP_URL?",
    };
    Finding::fail("broker", cause.detail.clone(), remedy)
}

fn of_end(ended: Result<(), Failure>) -> Finding {
    match ended {
        Err(failure) => {
            let Cause { reason, detail } = failure.cause();
            let check = if reason.starts_with("topology") { "topology" } else { "broker" };
            // The detail names the remedy: the queue and its argument, or the user.
            Finding::fail(check, detail.clone(), "")
        }
        Ok(()) => Finding::fail("broker", "the connection ended", "try again"),
    }
}
