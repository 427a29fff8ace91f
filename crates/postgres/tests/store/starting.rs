//! Starting: before the database, before the schema, and many at once.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use treehook_event::{EventStore as _, Failure};
use treehook_postgres::{Store, StoreOptions};

use crate::harness::{self, database_url, with_empty_schema, with_store};

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_said_so_quickly() {
    // A port that was free a moment ago: nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let options =
        StoreOptions { acquire_timeout: Duration::from_millis(300), ..StoreOptions::default() };
    let store = Store::connect(&format!("postgres://u:secret@127.0.0.1:{port}/d"), options);
    let store = store.expect("does not need the database");
    let begun = Instant::now();
    for outcome in [store.ping().await, store.check_schema().await, store.migrate().await] {
        let failure = outcome.expect_err("nobody listens");
        assert!(matches!(failure, Failure::Transient(_)), "{failure}");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_fatal_at_the_start_alone() {
    let (server, _) =
        database_url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("{server}/no_such_database");
    let store = Store::connect(&url, StoreOptions::default()).unwrap();
    assert!(matches!(store.check_schema().await, Err(Failure::Fatal(_))));
    assert!(matches!(store.migrate().await, Err(Failure::Fatal(_))));
    assert!(matches!(store.ping().await, Err(Failure::Transient(_))));
}

#[tokio::test]
async fn many_migrate_at_once_into_a_schema_that_is_not_there() {
    with_empty_schema(async |scratch| {
        let missing = scratch.store.check_schema().await.expect_err("no schema yet");
        assert_eq!(missing.cause().reason, "schema_missing");
        assert!(missing.to_string().contains("treehook migrate"), "{missing}");
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let store = scratch.another();
                tokio::spawn(async move { store.migrate().await })
            })
            .collect();
        for start in starts {
            assert_eq!(start.await.unwrap(), Ok(()));
        }
        assert_eq!(scratch.store.check_schema().await, Ok(()));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_fatal() {
    with_store(async |scratch: harness::Scratch| {
        scratch
            .meddle(
                "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'to come', true, '\\x00', 0)",
            )
            .await;
        for outcome in [scratch.store.check_schema().await, scratch.store.migrate().await] {
            let failure = outcome.expect_err("it is newer");
            assert!(matches!(failure, Failure::Fatal(_)), "{failure}");
            assert_eq!(failure.cause().reason, "schema_newer");
        }
    })
    .await;
}

#[tokio::test]
async fn connections_say_who_they_are() {
    with_store(async |scratch: harness::Scratch| {
        scratch.store.ping().await.unwrap();
        let mut connection = sqlx::PgConnection::connect(&database_url()).await.unwrap();
        let named: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where application_name = 'treehook-test'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(named >= 1);
    })
    .await;
}
