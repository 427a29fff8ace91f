//! The socket below a connection, kept within reach: a peer that answers nothing can be cut off.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt as _, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::time::timeout;
use tracing::debug;
use treehook_event::Failure;

use crate::classify::classify;

/// Cuts the connection's socket when dropped. The client library waits for a silent peer for ever,
/// also while closing, and each wait holds a thread and a socket: without this, an afternoon with a
/// half-open peer would use up either.
pub(crate) struct Lifeline(Slot);

/// Where the thread that dials leaves a second handle of its socket.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Held>>);

#[derive(Default)]
enum Held {
    /// There is no socket yet.
    #[default]
    Dialling,
    /// The socket.
    Open(TcpStream),
    /// Nobody waits for it any more.
    Abandoned,
}

impl Slot {
    fn replace(&self, held: Held) -> Held {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut guard, held)
    }

    /// Keeps the socket, unless whoever dialled has gone away meanwhile.
    fn keep(&self, socket: TcpStream) -> io::Result<()> {
        match self.replace(Held::Open(socket)) {
            Held::Dialling | Held::Open(_) => Ok(()),
            Held::Abandoned => {
                self.replace(Held::Abandoned);
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if let Held::Open(socket) = self.0.replace(Held::Abandoned)
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            // Mostly "not connected": the peer was faster.
            debug!("the broker's socket was gone before it was cut: {error}");
        }
    }
}

/// Connects and shakes hands within `limit`, or leaves nothing behind.
pub(crate) async fn open(
    uri: AMQPUri,
    properties: ConnectionProperties,
    limit: Duration,
) -> Result<(Connection, Lifeline), Failure> {
    let slot = Slot::default();
    let lifeline = Lifeline(slot.clone());
    let runtime = lapin::runtime::default_runtime().map_err(|error| classify(&error))?;
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            // In two steps even with TLS, since the handle is that of the plain socket.
            let mut plain = uri.clone();
            plain.scheme = AMQPScheme::AMQP;
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = timeout(limit, plain.connect_async(&runtime)).await.map_err(late)??;
            let AsyncTcpStream::Plain(socket) = &stream else {
                return Err(io::Error::other("a plain stream was asked for").into());
            };
            slot.keep(socket.get_ref().as_fd().try_clone_to_owned()?.into())?;
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => {
                    Ok(stream.into_tls(&uri.authority.host, TLSConfig::default()).await?)
                }
            }
        },
        properties,
    );
    match timeout(limit, connecting).await {
        Ok(Ok(connection)) => Ok((connection, lifeline)),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(Failure::transient(
            "broker_down",
            format!("no answer within {limit:?} of dialling"),
        )),
    }
}
