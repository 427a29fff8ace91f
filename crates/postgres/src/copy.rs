//! Many archive rows at once: a binary COPY, which the server takes in several times faster than an
//! insert of the same rows.

use sqlx::PgConnection;
use treehook_event::{Body, Day, Event, Key, LinkId, ProfileId, Timestamp, VisitKind};

use crate::archive::detail;

/// The order in which [`Rows::push`] writes.
const COPY: &str = "
copy events (day, key, source, identity, type, occurred_at, received_at, applied_at,
    profile_id, link_id, kind, country, referrer, device, visitor, detail, payload)
from stdin (format binary)";
const COLUMNS: i16 = 17;

/// What a binary COPY begins with: its name, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And ends with: no row has so few columns.
const TRAILER: i16 = -1;
/// 2000-01-01, where the server's own time begins: in milliseconds and in days.
const EPOCH_MS: i64 = 946_684_800_000;
const EPOCH_DAYS: i32 = 10_957;
/// Bytes from which on rows are sent: the server takes them in while the next are written, and neither we nor
/// the connection holds a whole batch once more.
const CHUNK_BYTES: usize = 256 << 10;
/// What a row takes, about.
const ROW_BYTES: usize = 700;

/// Copies the rows into the archive, in this order. Fails as a whole where one is there already.
pub(crate) async fn copy(
    connection: &mut PgConnection,
    events: &[(&Key, &Event)],
    now: Timestamp,
) -> sqlx::Result<()> {
    let length = HEADER.len() + events.len() * ROW_BYTES;
    let mut rows = Rows(Vec::with_capacity(length.min(CHUNK_BYTES + 2 * ROW_BYTES)));
    rows.0.extend_from_slice(HEADER);
    let mut copy = connection.copy_in_raw(COPY).await?;
    for (key, event) in events {
        rows.push(key, event, now);
        if rows.0.len() >= CHUNK_BYTES {
            copy.send(rows.0.as_slice()).await?;
            rows.0.clear();
        }
    }
    rows.0.extend_from_slice(&TRAILER.to_be_bytes());
    copy.send(rows.0).await?;
    copy.finish().await?;
    Ok(())
}

/// Rows as the server's binary format has them.
struct Rows(Vec<u8>);

impl Rows {
    fn push(&mut self, key: &Key, event: &Event, now: Timestamp) {
        self.0.extend_from_slice(&COLUMNS.to_be_bytes());
        self.date(event.occurred_at.day());
        self.bytes(&key.0);
        self.text(event.source.as_str());
        self.text(event.identity.as_str());
        self.text(event.event_type());
        self.moment(event.occurred_at);
        self.moment(event.received_at);
        self.moment(now);
        self.perhaps(event.profile_id().map(ProfileId::as_str));
        self.perhaps(event.link_id().map(LinkId::as_str));
        let visit = match &event.body {
            Body::Visit(visit) => Some(visit),
            Body::Link(_)
            | Body::Profile(_)
            | Body::Milestone(_)
            | Body::Unknown { .. }
            | Body::Unfit { .. }
            | Body::Statement(_) => None,
        };
        self.perhaps(visit.map(|visit| match visit.kind {
            VisitKind::Click { .. } => "click",
            VisitKind::View => "view",
        }));
        self.perhaps(visit.map(|visit| visit.country.as_str()));
        self.perhaps(visit.map(|visit| visit.referrer.as_str()));
        self.perhaps(visit.map(|visit| visit.device.as_str()));
        match visit.and_then(|visit| visit.visitor) {
            Some(visitor) => self.bytes(&visitor.0.to_be_bytes()),
            None => self.null(),
        }
        self.perhaps(detail(&event.body).as_deref());
        self.text(&event.payload);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).expect("a field is far below 2 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn perhaps(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn moment(&mut self, at: Timestamp) {
        self.bytes(&((at.as_millis() - EPOCH_MS) * 1000).to_be_bytes());
    }

    fn date(&mut self, day: Day) {
        self.bytes(&(day.0 - EPOCH_DAYS).to_be_bytes());
    }
}
