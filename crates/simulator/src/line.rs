//! A place to send from: a connection that is opened again whenever it is lost, with a pause between.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::time::timeout;

use crate::classify::Trouble;
use crate::connection::Connection;
use crate::target::Target;

/// One of the connections of a load.
pub(crate) struct Line<'a> {
    target: &'a Target,
    request_timeout: Duration,
    connection: Option<Connection>,
    failures: u32,
}

impl<'a> Line<'a> {
    /// Not yet connected.
    pub(crate) fn new(target: &'a Target, request_timeout: Duration) -> Self {
        Self { target, request_timeout, connection: None, failures: 0 }
    }

    /// Sends one request, connecting first if need be; `Err` closes the connection. The request is
    /// made when there is something to send it on, so that its signature is fresh.
    pub(crate) async fn send(
        &mut self,
        request: impl FnOnce() -> Request<Full<Bytes>>,
    ) -> Result<StatusCode, Trouble> {
        let exchange = async {
            let connection = open(&mut self.connection, self.target).await?;
            connection.send(request()).await
        };
        let outcome = match timeout(self.request_timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Trouble::Timeout),
        };
        if outcome.is_ok() {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.connection = None;
        }
        outcome
    }

    /// How long to wait before the next request: nothing unless the last one failed.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (self.failures > 0).then(|| back_off(self.failures))
    }
}

/// The connection if it is still good, else a new one.
async fn open<'c>(
    place: &'c mut Option<Connection>,
    target: &Target,
) -> Result<&'c mut Connection, Trouble> {
    let usable = match place {
        Some(connection) => connection.is_usable().await,
        None => false,
    };
    if !usable {
        // The old one goes first: a server at its limit may need the room.
        *place = None;
        *place = Some(Connection::open(target).await?);
    }
    Ok(place.as_mut().expect("it has just been put there"))
}

/// 10 ms, 20 ms, 40 ms ... never more than 1 s: a receiver that restarts is found again at once, and
/// one that is gone is not hammered.
fn back_off(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        for (failures, millis) in [(1, 10), (2, 20), (7, 640), (8, 1000), (u32::MAX, 1000)] {
            assert_eq!(back_off(failures), Duration::from_millis(millis));
        }
    }
}
