//! Believable signed traffic: what link-in-bio platforms would send, and a driver that sends it.

mod catalog;
mod chance;
mod classify;
mod connection;
mod creator;
mod desk;
mod dub;
mod expected;
mod line;
mod linktree;
mod load;
mod pace;
mod plan;
mod report;
mod retry;
mod rhythm;
mod signer;
mod story;
mod target;
mod traffic;
mod visitor;

pub use expected::{Expected, ExpectedLink, ExpectedProfile};
pub use load::Load;
pub use plan::{BadPlan, TrafficPlan};
pub use report::{Latency, LoadReport, Progress};
pub use retry::RetryPolicy;
pub use signer::Signer;
pub use target::{BadTarget, Target};
pub use traffic::{Delivery, DeliveryKind, Traffic};
