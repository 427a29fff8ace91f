//! How events move: one loop that drains a queue into a handler, the handlers, and the policies
//! that stand before a publisher.

mod announce;
mod backoff;
mod burst_first;
mod bury;
mod drain;
mod forward;
mod gather;
mod give_way;
mod ledger;
mod record;
mod spool;

pub use announce::Announce;
pub use backoff::{Backoff, Chance};
pub use burst_first::BurstFirst;
pub use bury::Bury;
pub use drain::{Limits, drain};
pub use forward::Forward;
pub use gather::{Gather, GatherLimits};
pub use give_way::GiveWay;
pub use ledger::{Journal, Ledger, Page, Unkept};
pub use record::Record;
pub use spool::Spool;

/// The time of day, as the roof hands it in: a function, so that a test can bring its own.
pub type Clock = fn() -> treehook_event::Timestamp;
