//! A TCP forwarder in front of the broker that can be cut, stalled and made to speak out of turn.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::harness::url;

/// What happens to bytes.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Forward,
    /// They are taken and go nowhere.
    Stall,
}

/// Listens where clients think the broker is.
pub(crate) struct Forwarder {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    inject: broadcast::Sender<Arc<[u8]>>,
    running: Option<JoinHandle<()>>,
}

impl Forwarder {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut forwarder = Self {
            address: listener.local_addr().unwrap(),
            mode: watch::Sender::new(Mode::Forward),
            inject: broadcast::Sender::new(16),
            running: None,
        };
        forwarder.run(listener);
        forwarder
    }

    /// The broker's URL, by way of this forwarder.
    pub(crate) fn url(&self) -> String {
        let (target, url) = (target(), url());
        url.replace(&target, &self.address.to_string())
    }

    fn run(&mut self, listener: TcpListener) {
        let (mode, inject) = (self.mode.clone(), self.inject.clone());
        self.running = Some(tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, mode.subscribe(), inject.subscribe()));
            }
        }));
    }

    /// Closes every connection and refuses new ones.
    pub(crate) async fn cut(&mut self) {
        let running = self.running.take().expect("it is not cut already");
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    /// Takes connections again, at the same address.
    pub(crate) async fn restore(&mut self) {
        self.mode.send_replace(Mode::Forward);
        if self.running.is_none() {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.run(listener);
        }
    }

    /// Keeps connections open and takes new ones, but forwards nothing.
    pub(crate) fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// Says to every client that the broker is short of memory: a `connection.blocked` frame.
    pub(crate) fn say_blocked(&self) {
        self.say(&[0, 10, 0, 60, 10, b'l', b'o', b'w', b' ', b'm', b'e', b'm', b'o', b'r', b'y']);
    }

    /// Says to every client that the broker has room again: a `connection.unblocked` frame.
    pub(crate) fn say_unblocked(&self) {
        self.say(&[0, 10, 0, 61]);
    }

    fn say(&self, method: &[u8]) {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(method.len()).unwrap().to_be_bytes());
        frame.extend(method);
        frame.push(0xCE);
        self.inject.send(frame.into()).expect("somebody is connected");
    }
}

fn target() -> String {
    let url = url();
    let authority = url.split("://").nth(1).unwrap().split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

async fn forward(
    client: TcpStream,
    mode: watch::Receiver<Mode>,
    inject: broadcast::Receiver<Arc<[u8]>>,
) {
    let server = TcpStream::connect(target()).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, mode.clone(), None) => (),
        () = copy(from_server, to_client, mode, Some(inject)) => (),
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    mut inject: Option<broadcast::Receiver<Arc<[u8]>>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let injected = async {
            match &mut inject {
                Some(inject) => inject.recv().await,
                None => std::future::pending().await,
            }
        };
        let bytes = tokio::select! {
            // An end is held like any other byte.
            read = from.read(&mut buffer) => &buffer[..read.unwrap_or(0)],
            Ok(frame) = injected => &*frame.clone(),
        };
        // What is read in a stall is held, so that the stream stays whole.
        let forwards = mode.wait_for(|mode| *mode == Mode::Forward).await.is_ok();
        if !forwards || bytes.is_empty() || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
