//! Events over RabbitMQ: the topology, a publisher that waits for confirms, a consumer that settles
//! after the work is done, and the supervisor that rebuilds a lost connection for ever.

mod backoff;
mod broker;
mod classify;
mod consumer;
mod link;
mod message;
mod publisher;
mod socket;
mod state;
mod subscription;
mod supervisor;
mod topology;

pub use broker::{Broker, BrokerConfig, Depths, Timeouts};
pub use consumer::{EventConsumer, Receipt};
pub use publisher::{Announcer, EventPublisher};
pub use state::BrokerState;
pub use supervisor::BrokerTask;
pub use topology::{Topology, Which};
