//! Announcing what was applied.

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;
use treehook_event::{Accepted, Publisher as _};

use crate::harness::{PATIENCE, click, story};

#[tokio::test]
async fn an_announcement_is_good_whether_or_not_anybody_listens() {
    story(async |harness| {
        let running = harness.broker().await;
        let announcer = running.broker.announcer();
        assert_eq!(announcer.publish(&[click("unheard")]).await, Ok(Accepted::Queued));

        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let none = FieldTable::default;
        let queue = harness.admin.queue_declare("".into(), options, none()).await.unwrap();
        let name = queue.name().clone();
        let exchange = harness.topology.applied_exchange.as_str();
        let (key, options) = ("linktree.link.*", QueueBindOptions::default());
        let bound =
            harness.admin.queue_bind(name.clone(), exchange.into(), key.into(), options, none());
        bound.await.unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut heard =
            harness.admin.basic_consume(name, "".into(), options, none()).await.unwrap();

        announcer.publish(&[click("heard")]).await.unwrap();
        let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.routing_key.as_str(), "linktree.link.clicked");
        assert!(String::from_utf8(message.data).unwrap().contains("\"heard\""));
        running.stop().await;
    })
    .await;
}
