//! Stories about the broker, told against a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod announcing;
mod consuming;
mod forwarder;
mod harness;
mod outage;
mod publishing;
mod suspects;
mod topology;
