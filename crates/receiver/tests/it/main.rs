//! The front door over real TCP connections, with a publisher in memory behind it.

mod answers;
mod client;
mod harness;
mod limits;
mod schemes;
mod serving;
mod smuggling;
mod traces;
