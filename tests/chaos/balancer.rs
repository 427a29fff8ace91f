//! What stands before several receivers: takes connections, and leads each to one that answers.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Takes turns among receivers until it is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn before(receivers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut order = receivers;
            loop {
                let (client, _) = listener.accept().await.unwrap();
                order.rotate_left(1);
                connections.spawn(lead(client, order.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// To the first that takes the connection; the client hangs up for itself when none does.
async fn lead(mut client: TcpStream, receivers: Vec<SocketAddr>) {
    for receiver in receivers {
        if let Ok(mut server) = TcpStream::connect(receiver).await {
            // How it ends is for the two sides to find out.
            drop(copy_bidirectional(&mut client, &mut server).await);
            return;
        }
    }
}
