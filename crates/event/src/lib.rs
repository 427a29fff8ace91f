//! What an event is, when to believe it, what is derived from it, how it counts, and the seams it
//! moves through. No runtime, no clock, no I/O: the time of day and the bytes come in as arguments.

mod account;
mod audience;
mod cloudevents;
mod compression;
mod deadletter;
mod delta;
mod derive;
mod dub;
mod envelope;
mod event;
mod failure;
mod fields;
mod ledger;
mod linktree;
mod moment;
mod names;
mod node;
mod packed;
mod packet;
mod privacy;
mod projection;
mod rejection;
mod report;
mod rollup;
mod scheme;
mod seams;
mod secret;
mod signature;
mod sketch;
mod sorted;
mod union;

pub use account::{Account, Balance, Settled, fold_settled, settled, settled_dead};
pub use audience::{Audience, Devices, Location, Referrer, audience};
pub use cloudevents::{Undecodable, decode_batch, encode_batch, encode_event};
pub use compression::Compression;
pub use deadletter::{DeadFilter, DeadLetter, REASON_LABELS, profile_named_in};
pub use delta::{BadDelta, DELTA_VERSION, traces_in_delta};
pub use derive::{
    Device, LONGEST_TITLE, country_of, device_of, host_of, referrer_of, title_of, url_of,
};
pub use envelope::{BATCH_MAX, Context, Platform, parse};
pub use event::{
    Body, Event, FUTURE_MAX, Key, LinkChange, LinkChangeKind, LinkFields, Milestone, ProfileFields,
    Visit, VisitKind,
};
pub use failure::{Cause, Failure};
pub use ledger::{BadEntry, Counting, Entry, Numbers, ReceiverId, Statement};
pub use moment::{Day, Hour, Minute, Timestamp};
pub use names::{BadName, EventType, Identity, LinkId, ProfileId, SourceName};
pub use packet::Packet;
pub use privacy::{PersonalKeys, VisitorId, VisitorKey};
pub use projection::{LinkState, ProfileState, Stamp, Stamped};
pub use rejection::Rejection;
pub use report::{
    Analytics, AudienceCount, Granularity, HourCount, LinkReport, LinkSort, LinkTotal,
    MilestoneRow, Period, PeriodError, Point, ProfileSummary, analytics, links,
};
pub use rollup::{Counts, Dimension, LIVE_MINUTES, MinuteCount, Rollup, fold};
pub use scheme::{Encoding, KeyEncoding, Part, Scheme, SchemeError, TimestampPlace};
pub use seams::{
    Accepted, Carried, Consumer, Delivery, Difference, Erased, EventStore, Handler, HistoryRow,
    Intake, Maintained, Publisher, Recorded, Subjects, Tally,
};
pub use secret::{BadSecret, SigningKey};
pub use signature::{Claim, Found, Source, Verified, sign, verify};
pub use sketch::{BadSketch, Sketch};
pub use union::Union;
