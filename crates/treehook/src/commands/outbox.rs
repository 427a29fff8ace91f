//! `outbox`: how full the local outbox is; replaying it now.

use metrics::counter;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use treehook_event::Consumer as _;
use treehook_event::{Failure, Handler as _};
use treehook_pipeline::{Backoff, Forward};
use treehook_sqlite::{Depth, Queue, QueueLimits};

use super::{configured, print};
use crate::Trouble;
use crate::cli::{OutboxCommand, OutboxStatus, Shared};
use crate::config::{Config, Mistakes};
use crate::roles::start_broker;
use crate::vitals::oldest_seconds;

/// Failures in a row before a replay gives up: about half a minute without a broker.
const REPLAY_TRIES: u32 = 10;
/// Events replayed at once.
const REPLAY_BATCH: usize = 1000;

pub(super) async fn outbox(command: OutboxCommand) -> Result<(), Trouble> {
    match command {
        OutboxCommand::Status(args) => status(&args).await,
        OutboxCommand::Replay(shared) => replay(&shared).await,
    }
}

async fn open(shared: &Shared) -> Result<(Config, Queue), Trouble> {
    let mut flags = shared.flags();
    flags.entry("log").or_insert_with(|| "warn".to_owned());
    let config = configured(&flags)?;
    if !config.data_dir.join("queue.db").is_file() {
        let place = config.data_dir.display();
        let text = format!("no outbox in {place}; name its directory with --data-dir");
        return Err(Trouble::Failed(text));
    }
    let limits = QueueLimits { max_bytes: config.outbox_max };
    let queue = Queue::open(&config.data_dir, limits).await?;
    Ok((config, queue))
}

async fn status(args: &OutboxStatus) -> Result<(), Trouble> {
    let (_, queue) = open(&args.shared).await?;
    let depth = queue.depth().await?;
    let oldest = oldest_seconds(&depth);
    if args.json {
        let Depth { events, bytes, .. } = depth;
        return print(&format!(
            "{}\n",
            json!({"events": events, "bytes": bytes, "oldest_seconds": oldest})
        ));
    }
    let oldest = oldest.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s"));
    let size = bytesize::ByteSize(depth.bytes);
    print(&format!("events  {}\noldest  {oldest}\nsize    {size}\n", depth.events))
}

async fn replay(shared: &Shared) -> Result<(), Trouble> {
    let (config, queue) = open(shared).await?;
    let stop = CancellationToken::new();
    let Some((broker, supervisor)) = start_broker(&config, "outbox replay", stop.clone())? else {
        let text = "TREEHOOK_AMQP_URL is not set: replay publishes to RabbitMQ; in embedded mode \
                    `treehook serve` drains the queue by itself";
        return Err(Trouble::Usage(Mistakes::one(text)));
    };
    let supervisor = tokio::spawn(supervisor);
    let handler = Forward::new(broker.publisher(), counter!("treehook_outbox_replayed_total"));
    let replayed = forward_all(&queue, &handler, &stop).await;
    stop.cancel();
    supervisor.await.map_err(anyhow::Error::from)??;
    print(&format!("replayed {} events\n", replayed?))
}

/// Until the outbox is empty. A receiver that relays at the same time may send some twice: they
/// count once.
async fn forward_all(
    queue: &Queue,
    handler: &Forward<treehook_rabbitmq::EventPublisher>,
    stop: &CancellationToken,
) -> Result<u64, Failure> {
    let mut consumer = queue.relay();
    let mut backoff = Backoff::default();
    let (mut replayed, mut failures) = (0, 0);
    loop {
        let deliveries = consumer.receive(REPLAY_BATCH, std::time::Duration::ZERO).await?;
        if deliveries.is_empty() {
            return Ok(replayed);
        }
        let mut packets = Vec::new();
        let mut receipts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            packets.extend(delivery.events);
            receipts.push(delivery.receipt);
        }
        match handler.handle(&packets).await {
            Ok(()) => {
                consumer.settle(receipts).await?;
                replayed += packets.iter().map(|packet| packet.events as u64).sum::<u64>();
                failures = 0;
                backoff.reset();
            }
            Err(Failure::Transient(_)) if failures < REPLAY_TRIES => {
                failures += 1;
                consumer.release().await;
                backoff.pause(stop).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}
