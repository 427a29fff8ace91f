//! A TCP proxy between treehook and a server, to cut, stall and restore what passes through it.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything passes.
    Open,
    /// Open connections are closed, new ones too.
    Cut,
    /// Connections stay and are accepted, but nothing passes.
    Stalled,
}

/// Forwards one port to one server until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watched) = watch::channel(Mode::Open);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(client, server, watched.clone()));
            }
        });
        Self { address, mode, task }
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(crate) fn stall(&self) {
        self.mode.send_replace(Mode::Stalled);
    }

    pub(crate) fn restore(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection: while stalled nothing is read, so that nothing passes and nothing is lost.
async fn forward(mut client: TcpStream, server: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let mut upstream: Option<TcpStream> = None;
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => return,
            Mode::Stalled => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
            Mode::Open => {
                if upstream.is_none() {
                    upstream = TcpStream::connect(server).await.ok();
                }
                let Some(stream) = upstream.as_mut() else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, stream) => return,
                    changed = mode.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}
