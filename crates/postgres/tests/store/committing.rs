//! What a commit is worth, and whether one could be had.

use sqlx::Connection as _;
use treehook_event::{EventStore as _, Failure};
use treehook_postgres::Store;

use crate::harness::{Scratch, database_url, options, view, with_store};

const NOON: &str = "2026-11-24T12:00:00Z";

#[tokio::test]
async fn a_commit_is_on_disk_whatever_the_servers_default_is() {
    with_store(async |scratch: Scratch| {
        scratch.meddle("create table seen (setting text)").await;
        scratch
            .meddle(
                "create function look() returns trigger language plpgsql as $$ begin
                     insert into seen values (current_setting('synchronous_commit'));
                     return null;
                 end $$",
            )
            .await;
        scratch.meddle("create trigger look after insert on tallies execute function look()").await;
        let careless = format!("{}?options=-c%20synchronous_commit%3Doff", database_url());
        let store = Store::connect(&careless, options(&scratch.schema)).unwrap();
        store.record(&[view("a", NOON, 1)], crate::harness::at(NOON)).await.unwrap();
        assert_eq!(scratch.text("select setting from seen").await, "on");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn being_ready_is_proved_by_a_commit_that_changes_nothing() {
    with_store(async |scratch: Scratch| {
        let before = scratch.store.tally().await.unwrap();
        for _ in 0..3 {
            assert_eq!(scratch.store.ready().await, Ok(()));
        }
        assert_eq!(scratch.store.tally().await.unwrap(), before);
        scratch.record(&[view("a", NOON, 1)]).await;
        let before = scratch.store.tally().await.unwrap();
        assert_eq!(scratch.store.ready().await, Ok(()));
        assert_eq!(scratch.store.tally().await.unwrap(), before);
        assert_eq!(scratch.number("select count(*) from tallies").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_answers_but_takes_nothing_is_not_ready() {
    with_store(async |scratch: Scratch| {
        let read_only = format!("{}?options[default_transaction_read_only]=on", database_url());
        let store = Store::connect(&read_only, options(&scratch.schema)).unwrap();
        assert_eq!(store.ping().await, Ok(()));
        let failure = store.ready().await.expect_err("it is read-only");
        assert!(matches!(failure, Failure::Transient(_)), "{failure}");
        assert_eq!(failure.cause().reason, "read_only");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_somebody_keeps_writers_out_of_is_not_ready() {
    with_store(async |scratch: Scratch| {
        let mut repairing = scratch.connection().await;
        let mut transaction = repairing.begin().await.unwrap();
        sqlx::query("lock table events in share row exclusive mode")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let failure = scratch.store.ready().await.expect_err("a batch would wait");
        assert!(matches!(failure, Failure::Transient(_)), "{failure}");
        transaction.rollback().await.unwrap();
        assert_eq!(scratch.store.ready().await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_user_who_may_only_read_is_not_ready() {
    with_store(async |scratch: Scratch| {
        let ready = scratch.as_reader(async |reader: &Store| reader.ready().await).await;
        let failure = ready.expect_err("it may only read");
        assert!(matches!(failure, Failure::Transient(_)), "{failure}");
        assert_eq!(failure.cause().reason, "missing_privilege");
    })
    .await;
}
