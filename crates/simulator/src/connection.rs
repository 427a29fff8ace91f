//! One keep-alive connection, driven by whoever waits for its answer: no task, no wake-up between.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::classify::{Trouble, classify};
use crate::target::Target;

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// An open connection.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// What moves the bytes; gone once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(target: &Target) -> Result<Self, Trouble> {
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|_| Trouble::Connect)?;
        // A request is one write; waiting for more would add up to 40 ms to it.
        stream.set_nodelay(true).map_err(|_| Trouble::Connect)?;
        // A request is small: one buffer is sent faster than a list of two.
        let (sender, driver) = http1::Builder::new()
            .writev(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| classify(&e))?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Whether it can take a request: the other side may have closed it meanwhile.
    pub(crate) async fn is_usable(&mut self) -> bool {
        let Self { sender, driver } = self;
        drive(driver, sender.ready()).await.is_ok()
    }

    /// Sends the request and reads the whole answer, of which the status is kept.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<StatusCode, Trouble> {
        let answer = self.sender.send_request(request);
        let whole = async {
            let response = answer.await?;
            let status = response.status();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok(status)
        };
        drive(&mut self.driver, whole).await.map_err(|error| classify(&error))
    }
}

/// Does the work while it drives the connection that the work depends on.
async fn drive<T>(
    driver: &mut Option<Pin<Box<Driver>>>,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, hyper::Error> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Some(running) = driver
            && let Poll::Ready(ended) = running.as_mut().poll(context)
        {
            // Never polled again. What it knew, the work learns now: an answer or an error.
            *driver = None;
            return match (work.as_mut().poll(context), ended) {
                (Poll::Ready(outcome), Ok(()) | Err(_)) => Poll::Ready(outcome),
                (Poll::Pending, Err(error)) => Poll::Ready(Err(error)),
                (Poll::Pending, Ok(())) => Poll::Pending,
            };
        }
        work.as_mut().poll(context)
    })
    .await
}
