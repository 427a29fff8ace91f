//! The exchanges and queues on the broker, and why each has the arguments that it has.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use treehook_event::Failure;

use crate::classify::classify;

/// Longest name of a queue or an exchange: AMQP's short string.
const LONGEST_NAME: usize = 255;

/// What the exchanges and queues are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Where receivers publish events.
    pub events_exchange: String,
    /// What workers drain.
    pub aggregate_queue: String,
    /// Where the broker puts what it gives up on.
    pub dead_exchange: String,
    /// What the undertaker drains.
    pub dead_queue: String,
    /// Where workers announce what they applied.
    pub applied_exchange: String,
}

/// Which of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Events that wait to be counted.
    Aggregate,
    /// Events that the broker itself gave up on.
    Dead,
}

impl Default for Topology {
    fn default() -> Self {
        Self::prefixed("treehook.")
    }
}

impl Topology {
    /// Names that start with `prefix`, its separator included; the default is `treehook.`.
    pub fn prefixed(prefix: &str) -> Self {
        Self {
            events_exchange: format!("{prefix}events"),
            aggregate_queue: format!("{prefix}aggregate"),
            dead_exchange: format!("{prefix}dead"),
            dead_queue: format!("{prefix}dead"),
            applied_exchange: format!("{prefix}applied"),
        }
    }

    /// The name of a queue.
    pub fn queue(&self, which: Which) -> &str {
        match which {
            Which::Aggregate => &self.aggregate_queue,
            Which::Dead => &self.dead_queue,
        }
    }

    /// Whether every name fits AMQP.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let names = [
            &self.events_exchange,
            &self.aggregate_queue,
            &self.dead_exchange,
            &self.dead_queue,
            &self.applied_exchange,
        ];
        if names.iter().all(|name| (1..=LONGEST_NAME).contains(&name.len())) {
            return Ok(());
        }
        Err(Failure::fatal("topology_name", "queues and exchanges are named in 1 to 255 bytes"))
    }

    /// Makes everything that is not there yet. Repeating it changes nothing.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Failure> {
        // The dead ones first: from then on nothing that the aggregate queue gives up on is lost.
        for exchange in [&self.dead_exchange, &self.events_exchange, &self.applied_exchange] {
            declare_exchange(channel, exchange).await?;
        }
        declare_queue(channel, &self.dead_queue, dead_arguments()).await?;
        bind(channel, &self.dead_queue, &self.dead_exchange).await?;
        let arguments = aggregate_arguments(&self.dead_exchange);
        declare_queue(channel, &self.aggregate_queue, arguments).await?;
        bind(channel, &self.aggregate_queue, &self.events_exchange).await
    }
}

async fn declare_exchange(channel: &Channel, name: &str) -> Result<(), Failure> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default())
        .await
        .map_err(|error| classify(&error))
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), Failure> {
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .map(|_| ())
        .map_err(|error| classify(&error))
}

/// Every routing key: which events there are is not the topology's business.
async fn bind(channel: &Channel, queue: &str, exchange: &str) -> Result<(), Failure> {
    let key = ShortString::from("#");
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key,
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| classify(&error))
}

/// Everything is said outright, so that no upgrade of the broker decides it for us.
fn aggregate_arguments(dead_exchange: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    // Quorum: survives the loss of a node. A classic queue would make 202 a lie.
    insert(&mut arguments, "x-queue-type", text("quorum"));
    // A worker that dies holding a message has used an attempt; twenty such deaths are the
    // message's own fault.
    insert(&mut arguments, "x-delivery-limit", AMQPValue::LongInt(20));
    insert(&mut arguments, "x-dead-letter-exchange", text(dead_exchange));
    // The default is at most once: a dead letter would be lost with its node. It requires the next.
    insert(&mut arguments, "x-dead-letter-strategy", text("at-least-once"));
    // A full queue refuses what comes; the default would drop what was accepted.
    insert(&mut arguments, "x-overflow", text("reject-publish"));
    arguments
}

fn dead_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", text("quorum"));
    // Nothing stands behind this queue, so a limit would drop. RabbitMQ 4 takes -1 for "none", but
    // has 20 by default; 3.10 has none by default, but refuses -1. Two thousand million is right
    // on both.
    insert(&mut arguments, "x-delivery-limit", AMQPValue::LongInt(i32::MAX));
    insert(&mut arguments, "x-overflow", text("reject-publish"));
    arguments
}

fn insert(arguments: &mut FieldTable, name: &str, value: AMQPValue) {
    arguments.insert(name.into(), value);
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_names_are_the_promised_ones() {
        let topology = Topology::default();
        assert_eq!(topology.events_exchange, "treehook.events");
        assert_eq!(topology.applied_exchange, "treehook.applied");
        assert_eq!(topology.dead_exchange, "treehook.dead");
        assert_eq!(topology.queue(Which::Aggregate), "treehook.aggregate");
        assert_eq!(topology.queue(Which::Dead), "treehook.dead");
    }

    #[test]
    fn a_name_that_does_not_fit_is_found_at_the_start() {
        assert!(Topology::prefixed(&"p".repeat(240)).check().is_ok());
        let failure = Topology::prefixed(&"p".repeat(250)).check().unwrap_err();
        assert_eq!(failure.cause().reason, "topology_name");
    }
}
