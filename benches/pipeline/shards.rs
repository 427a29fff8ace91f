//! One quorum queue beside several: whether sharding what workers drain would carry more here.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use treehook_event::Packet;

use crate::Bench;
use crate::deliveries::{Deliveries, fresh_numbers};
use crate::harness::now;
use crate::reference::connect;
use crate::table::{Target, median, per_second, ratio};

/// Events in a message, as in the fullest of ours.
const EVENTS: u64 = 100;
/// Messages that are not confirmed yet, over all queues.
const IN_FLIGHT: usize = 8;
/// Queues that share the messages.
const QUEUES: [usize; 3] = [1, 2, 4];

pub(crate) async fn measure(bench: &mut Bench) {
    let events = Deliveries::new().events(fresh_numbers()..fresh_numbers() + EVENTS, now());
    let packets = Packet::pack(&events);
    let messages = usize::try_from(bench.plan.events * 2 / EVENTS).unwrap();
    let mut rates = QUEUES.map(|_| Vec::new());
    for round in 1..=bench.plan.rounds {
        eprintln!("shards: round {round} of {}", bench.plan.rounds);
        for (queues, rates) in QUEUES.into_iter().zip(&mut rates) {
            let rate = published(queues, &packets, messages).await;
            eprintln!("  over {queues}: {}", per_second(rate));
            rates.push(rate);
        }
    }
    let rate = median(rates[0].clone());
    bench.table.add("confirmed into one queue, events/s", rate, per_second(rate), Target::None);
    for (queues, shared) in QUEUES.iter().zip(&rates).skip(1) {
        let times = ratio(shared, &rates[0]);
        let shown = format!("{times:.2} ({})", per_second(median(shared.clone())));
        bench.table.add(format!("{queues} queues / one"), times, shown, Target::None);
    }
}

/// Events per second that so many queues confirm together.
async fn published(queues: usize, packets: &[Packet], messages: usize) -> f64 {
    let connection = connect().await;
    let mut shards: Vec<(Channel, String)> = Vec::new();
    for shard in 0..queues {
        let (channel, queue) =
            (connection.create_channel().await.unwrap(), format!("treehook-bench-shard-{shard}"));
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        shards.push((channel, queue));
    }
    let started = Instant::now();
    let events = stream::iter(0..messages)
        .map(async |number| {
            let (channel, queue) = &shards[number % shards.len()];
            let packet = &packets[number % packets.len()];
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default().with_delivery_mode(2);
            let (name, body) = (queue.as_str().into(), packet.body.as_slice());
            let sent = channel.basic_publish("".into(), name, options, body, properties).await;
            assert!(sent.unwrap().await.unwrap().is_ack());
            packet.events
        })
        .buffer_unordered(IN_FLIGHT)
        .fold(0, async |sum, events| sum + events)
        .await;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    for (channel, queue) in &shards {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(queue.as_str().into(), options).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
    rate
}
