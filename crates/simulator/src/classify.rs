//! What went wrong with a request that brought no answer, in four words.

/// Why a request brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Nobody took the connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was there.
    Closed,
    /// What came back is not HTTP.
    Protocol,
}

impl Trouble {
    /// Its name in the report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

/// What hyper met. Whatever it has no word for counts as a broken connection: the request is sent
/// again on a new one.
pub(crate) fn classify(error: &hyper::Error) -> Trouble {
    if error.is_parse() {
        Trouble::Protocol
    } else if error.is_timeout() {
        Trouble::Timeout
    } else {
        Trouble::Closed
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What a client meets when the server answers with these bytes and goes away.
    async fn met(answer: &[u8]) -> hyper::Error {
        let (client, mut server) = tokio::io::duplex(1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        let request = http::Request::new(Empty::<Bytes>::new());
        let serving = async {
            // Whatever comes before the request is asked for is an answer to nothing.
            server.read_u8().await.unwrap();
            server.write_all(answer).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let (sent, driven, ()) = tokio::join!(sender.send_request(request), connection, serving);
        sent.err().or(driven.err()).expect("no answer is possible")
    }

    #[tokio::test]
    async fn errors_have_their_words() {
        for (answer, trouble) in [
            (&b""[..], Trouble::Closed),
            (b"HTTP/1.1 202 Acc", Trouble::Closed),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Trouble::Protocol),
            (b"HTTP/1.1 9999 Odd\r\n\r\n", Trouble::Protocol),
        ] {
            let error = met(answer).await;
            assert_eq!(classify(&error), trouble, "{error:?}");
        }
    }
}
