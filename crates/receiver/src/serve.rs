//! The server loop: connections under their limits, until told to stop, then drained.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, error, warn};

use crate::classify::{AcceptFault, accept_fault};
use crate::stream::Stream;

/// How long nothing is accepted once the machine is short of something, file descriptors mostly:
/// they come back as connections end.
const EXHAUSTION_PAUSE: Duration = Duration::from_secs(1);

/// How long a connection that came into a crowd may be idle: from half of the most connections on, new
/// ones wait for a seat, and whoever sits there with nothing to say is asked to go sooner.
const PATIENCE_IN_A_CROWD: Duration = Duration::from_secs(1);

/// Connections that the kernel keeps for us until there is a seat; it takes its own limit where that
/// is lower. Beyond, a peer asks again after 1, 3 and 7 s.
const BACKLOG: i32 = 4096;

/// What a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// Longest wait for the whole of a request's headers, and so for the next request on an idle
    /// connection; a second at most for a connection that finds half of `max_connections` there.
    pub header_timeout: Duration,
    /// Longest wait for a peer to read its answer.
    pub write_timeout: Duration,
    /// Largest request line and headers together, in bytes; above it is 431. Their number is
    /// limited to 100 by hyper.
    pub max_header_bytes: usize,
    /// Largest buffer of a connection in either direction, in bytes; at least 8 KiB.
    pub max_buffer_bytes: usize,
    /// Most connections at once. Further ones wait in the kernel's backlog until one ends, which an
    /// idle one does within `header_timeout`.
    pub max_connections: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            // Browsers and proxies stay below 8 KiB; signatures add a few hundred bytes.
            max_header_bytes: 16 * 1024,
            // Times `max_connections` this bounds what connections cost before any body counts.
            max_buffer_bytes: 16 * 1024,
            // More than the deliveries that are accepted at once, so that those above the limit are
            // answered 503, and probes answered at all.
            max_connections: 5120,
        }
    }
}

impl ServeLimits {
    /// What a connection may take that finds so many others there.
    fn among(self, others: usize) -> Self {
        let is_crowded = others >= self.max_connections.div_ceil(2);
        let patience = if is_crowded { PATIENCE_IN_A_CROWD } else { Duration::MAX };
        Self { header_timeout: self.header_timeout.min(patience), ..self }
    }
}

/// Serves HTTP/1.1 until `shutdown` resolves, then accepts nothing more, lets requests in flight
/// finish within `grace`, and closes what is left. Idle connections are closed at once.
pub async fn serve<S>(
    listener: std::net::TcpListener,
    service: S,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let closing = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => note_panic(ended),
            stream = accept(&listener), if connections.len() < limits.max_connections => {
                let limits = limits.among(connections.len());
                connections.spawn(converse(stream, service.clone(), limits, closing.clone()));
            }
        }
    }
    drop(listener);
    closing.cancel();
    drain(connections, grace).await;
    Ok(())
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        let error = match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => error,
        };
        match accept_fault(&error) {
            AcceptFault::PeerGone => {
                debug!("a connection was gone before it was accepted: {error}");
            }
            AcceptFault::Exhausted => {
                warn!("accepting no connections for a second: {error}");
                sleep(EXHAUSTION_PAUSE).await;
            }
        }
    }
}

/// One connection, request after request.
async fn converse<S>(stream: TcpStream, service: S, limits: ServeLimits, closing: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone,
{
    // Answers are small and complete: holding them back for more to come only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!("a connection was gone before its first request: {error}");
        return;
    }
    let stream = TokioIo::new(Stream::new(stream, limits.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_buffer_bytes)
        .serve_connection(stream, TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!("a connection ended early: {error}");
    }
}

async fn drain(mut connections: JoinSet<()>, grace: Duration) {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    };
    if timeout(grace, all_ended).await.is_err() {
        warn!(
            open = connections.len(),
            "grace is over: closing connections with requests in flight"
        );
        connections.shutdown().await;
    }
}

/// A panic took one connection with it; its sender will retry, and the others go on.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!("a connection's task failed: {error}");
    }
}
