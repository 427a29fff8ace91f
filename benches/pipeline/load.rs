//! The load: requests made ahead, sent over keep-alive connections by one thread, and their latencies.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::deliveries::{Deliveries, fresh_numbers};
use crate::harness::now;

/// Signed requests, one behind the other: making them must not be measured.
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Events in each.
    pub(crate) events_each: u64,
}

impl Requests {
    /// As many requests of so many events each.
    pub(crate) fn make(count: usize, events_each: u64) -> Arc<Self> {
        let (deliveries, first, now) = (Deliveries::new(), fresh_numbers(), now());
        let mut requests = Self { bytes: Vec::new(), ends: Vec::with_capacity(count), events_each };
        for at in 0..count as u64 {
            let from = first + at * events_each;
            requests.bytes.extend(deliveries.request(from..from + events_each, now));
            requests.ends.push(requests.bytes.len());
        }
        Arc::new(requests)
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Requests per second; as fast as the answers come without it. Latencies count from when a
    /// request was due.
    pub(crate) rate: Option<f64>,
    /// Not counted: connections open, buffers grow.
    pub(crate) warm_up: Duration,
    /// Counted.
    pub(crate) duration: Duration,
}

impl Shape {
    /// As fast as it goes.
    pub(crate) fn full(connections: usize, duration: Duration) -> Self {
        Self { connections, rate: None, warm_up: Duration::from_millis(400), duration }
    }
}

/// What came of a load.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Answers while it was counted, per second.
    pub(crate) rate: f64,
    /// In milliseconds.
    pub(crate) p50: f64,
    /// In milliseconds.
    pub(crate) p99: f64,
    /// Every answer with a 2xx, the warm-up's included.
    pub(crate) accepted: u64,
}

/// Sends until the time is over or the requests are used up. Panics at an answer that is no 2xx:
/// what refuses is not measured.
pub(crate) async fn drive(target: SocketAddr, requests: &Arc<Requests>, shape: Shape) -> Measured {
    let requests = Arc::clone(requests);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, drive_here(target, requests, shape))
    });
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
}

struct Shared {
    requests: Arc<Requests>,
    next: Cell<usize>,
    started: Instant,
    shape: Shape,
    micros: RefCell<Vec<u32>>,
    accepted: Cell<u64>,
    last: Cell<Instant>,
}

async fn drive_here(target: SocketAddr, requests: Arc<Requests>, shape: Shape) -> Measured {
    let started = Instant::now();
    let shared = Rc::new(Shared {
        requests,
        next: Cell::new(0),
        started,
        shape,
        micros: RefCell::default(),
        accepted: Cell::new(0),
        last: Cell::new(started),
    });
    let connections: Vec<_> = (0..shape.connections)
        .map(|_| tokio::task::spawn_local(converse(target, Rc::clone(&shared))))
        .collect();
    for connection in connections {
        connection.await.unwrap().unwrap();
    }
    let mut micros = shared.micros.take();
    micros.sort_unstable();
    let counted = shared.last.get().saturating_duration_since(started + shape.warm_up);
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position")]
        let position = (micros.len() as f64 * share) as usize;
        micros.get(position).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    };
    Measured {
        rate: micros.len() as f64 / counted.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        accepted: shared.accepted.get(),
    }
}

async fn converse(target: SocketAddr, shared: Rc<Shared>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    let Shape { rate, warm_up, duration, .. } = shared.shape;
    let (counted_from, ends) = (shared.started + warm_up, shared.started + warm_up + duration);
    loop {
        let index = shared.next.replace(shared.next.get() + 1);
        let Some(request) = shared.requests.get(index) else { break };
        let mut asked = Instant::now();
        if let Some(rate) = rate {
            asked = shared.started + Duration::from_secs_f64(index as f64 / rate);
            sleep_until(asked).await;
        }
        if asked >= ends {
            break;
        }
        stream.write_all(request).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        assert!((200..300).contains(&status), "answered {status}");
        let now = Instant::now();
        shared.accepted.set(shared.accepted.get() + 1);
        if asked >= counted_from {
            let micros = u32::try_from((now - asked).as_micros()).unwrap_or(u32::MAX);
            shared.micros.borrow_mut().push(micros);
            shared.last.set(now);
        }
    }
    Ok(())
}

/// Reads one answer whole; its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<u16> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = find(buffer, b"\r\n\r\n") else { continue };
        let status = std::str::from_utf8(&buffer[9..12]).unwrap().parse().unwrap();
        let length = find(&buffer[..head], b"content-length: ").map_or(0, |at| {
            let digits = &buffer[at + 16..head];
            let end = find(digits, b"\r").unwrap_or(digits.len());
            std::str::from_utf8(&digits[..end]).unwrap().parse().unwrap()
        });
        let whole = head + 4 + length;
        while buffer.len() < whole {
            if stream.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok(status);
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
