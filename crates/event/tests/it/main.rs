//! What the domain promises, seen from outside: belief, envelopes, privacy, the wire, and counting.

mod age;
mod counting;
mod dub;
mod envelope;
mod kept;
mod linktree;
mod privacy;
mod projection;
mod setup;
mod signature;
mod standard;
mod wire;
