//! How single values are read. Every error says what was expected.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use treehook_event::Compression;

use super::LogFormat;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| "expected HOST:PORT, as 0.0.0.0:8080".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .or_else(|error| text.parse().map(Duration::from_secs).map_err(|_| error))
        .map_err(|_| "expected a duration, as 300s, 5m, 24h or 400d".to_owned())
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let parsed = bytesize::ByteSize::from_str(text).map(|size| size.as_u64());
    match parsed {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("expected a size above zero, as 256KiB, 64MiB or 10GiB".to_owned()),
    }
}

/// Bodies are held in memory whole, and one event must fit a message: RabbitMQ 4 takes 16 MiB.
pub(super) fn body_size(text: &str) -> Result<usize, String> {
    const LARGEST: u64 = 8 << 20;
    match size(text)? {
        bytes if bytes <= LARGEST => usize::try_from(bytes).map_err(|error| error.to_string()),
        _ => Err("expected at most 8MiB: bodies are held in memory whole".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match text.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err("expected a whole number from 1 to 1000000".to_owned()),
    }
}

pub(super) fn prefetch(text: &str) -> Result<u16, String> {
    // Zero would mean "no limit" to the broker, and the consumer's buffer has no other.
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number from 1 to 65535".to_owned()),
    }
}

/// Shorter than a second would hand back in every hiccup, and each time costs an attempt.
pub(super) fn hold(text: &str) -> Result<Duration, String> {
    const ALLOWED: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
    match duration(text)? {
        fits if ALLOWED.contains(&fits) => Ok(fits),
        _ => Err("expected 1s to 24h, below RabbitMQ's consumer_timeout".to_owned()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every reader has this shape")]
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "expected a level (error, warn, info, debug, trace) or a filter".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "auto" => Ok(LogFormat::Auto),
        _ => Err("expected text or json".to_owned()),
    }
}

/// URLs hold passwords: what is wrong is said without them.
pub(super) fn amqp_url(text: &str) -> Result<(), String> {
    if text.starts_with("amqp://") || text.starts_with("amqps://") {
        Ok(())
    } else {
        Err("expected amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://".to_owned())
    }
}

/// Names of AMQP have 255 bytes.
pub(super) fn amqp_prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.is_empty() && text.len() <= 100 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 100 letters, digits, `.`, `-` and `_`, as treehook.".to_owned())
    }
}

pub(super) fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "none" => Ok(Compression::None),
        "lz4" => Ok(Compression::Lz4),
        _ => Err("expected none or lz4".to_owned()),
    }
}

pub(super) fn database_url(text: &str) -> Result<(), String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Ok(())
    } else {
        Err("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE; leave it out for SQLite"
            .to_owned())
    }
}

pub(super) fn visitor_key(text: &str) -> Result<(), String> {
    if text.len() >= 16 {
        Ok(())
    } else {
        Err("expected at least 16 characters: a shorter key can be guessed, and visitors with it; \
             `openssl rand -hex 32` makes one"
            .to_owned())
    }
}

pub(super) fn api_token(text: &str) -> Result<(), String> {
    if text.len() >= 16 && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("expected at least 16 visible ASCII characters; `openssl rand -hex 32` makes one"
            .to_owned())
    }
}
