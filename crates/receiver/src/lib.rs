//! The front door: verify, parse, publish, answer (CONTRACT.md section 1).

mod body;
mod classify;
mod door;
mod ingest;
mod meters;
mod refusal;
mod router;
mod serve;
mod stream;
mod telemetry;

pub use door::{Door, DoorLimits, Readiness};
pub use router::Front;
pub use serve::{ServeLimits, serve};
