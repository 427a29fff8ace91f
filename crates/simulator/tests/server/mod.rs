//! A tiny receiver that answers as it is told and remembers what it was sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What came with one request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Bytes,
}

/// What it gets back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// This status.
    Status(u16),
    /// This status, and the connection is closed.
    LastStatus(u16),
    /// Nothing, ever.
    Never,
}

type Script = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers the request of each number, counted from 0, as the script says.
    pub(crate) async fn start(
        script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, Arc::new(script), Arc::clone(&seen)));
        Self { address, seen, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks/linktree", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, script: Arc<Script>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        let service =
            service_fn(move |request| answer(Arc::clone(&script), Arc::clone(&seen), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = request.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut saw = Seen {
        path: request.uri().path().to_owned(),
        headers: headers.collect(),
        body: Bytes::new(),
    };
    saw.body = request.into_body().collect().await.unwrap().to_bytes();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(saw.clone());
        seen.len() - 1
    };
    let mut response = Response::new(Full::from("{\"status\":\"accepted\"}"));
    let status = match script(number, &saw) {
        Answer::Status(status) => status,
        Answer::LastStatus(status) => {
            response.headers_mut().insert("connection", "close".parse().unwrap());
            status
        }
        Answer::Never => std::future::pending().await,
    };
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}
