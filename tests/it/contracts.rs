//! What both implementations of a seam must do: one suite for each seam, run against both.

mod queue;
mod retention;
mod store;

use treehook_event::Compression;

use crate::harness;

#[tokio::test]
async fn sqlite_queue_keeps_the_queue_contract() {
    let dir = tempfile::tempdir().unwrap();
    let limits = treehook_sqlite::QueueLimits { max_bytes: 1 << 30 };
    let queue = treehook_sqlite::Queue::open(dir.path(), limits).await.unwrap();
    queue::queue_contract(&queue, || queue.consumer()).await;
    queue::queue_contract(&queue, || queue.wary_consumer()).await;
    queue::queue_contract(&queue, || queue::Opened(queue.relay())).await;
}

#[tokio::test]
async fn rabbitmq_keeps_the_queue_contract() {
    for compression in [Compression::None, Compression::Lz4] {
        let broker = harness::TestBroker::start(compression).await;
        queue::queue_contract(&broker.broker.publisher(), || {
            broker.broker.consumer(treehook_rabbitmq::Which::Aggregate, 100)
        })
        .await;
        broker.end().await;
    }
}

#[tokio::test]
async fn postgres_backlog_keeps_the_queue_contract() {
    let database = harness::TestDatabase::create().await;
    let store = database.store();
    store.migrate().await.unwrap();
    let backlog = store.backlog();
    queue::queue_contract(&backlog, || backlog.consumer()).await;
    drop((backlog, store));
    database.end().await;
}

#[tokio::test]
async fn sqlite_store_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = treehook_sqlite::Store::open(dir.path()).await.unwrap();
    store.migrate().await.unwrap();
    store::store_contract(&store).await;
}

#[tokio::test]
async fn sqlite_store_keeps_the_retention_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = treehook_sqlite::Store::open(dir.path()).await.unwrap();
    store.migrate().await.unwrap();
    retention::retention_contract(&store).await;
}

#[tokio::test]
async fn postgres_keeps_the_retention_contract() {
    let database = harness::TestDatabase::create().await;
    let store = database.store();
    store.migrate().await.unwrap();
    retention::retention_contract(&store).await;
    drop(store);
    database.end().await;
}

#[tokio::test]
async fn postgres_keeps_the_store_contract() {
    let database = harness::TestDatabase::create().await;
    let store = database.store();
    store.migrate().await.unwrap();
    store::store_contract(&store).await;
    drop(store);
    database.end().await;
}
