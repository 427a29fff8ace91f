//! A database of its own on the shared Postgres.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use treehook_postgres::{Store, StoreOptions};
use url::Url;

use super::{eventually, server_url, unique};

/// A database that goes away with its test.
pub(crate) struct TestDatabase {
    admin: String,
    name: String,
    pub(crate) url: String,
}

impl TestDatabase {
    pub(crate) async fn create() -> Self {
        Self::create_on(&server_url("TREEHOOK_TEST_DATABASE_URL")).await
    }

    /// On this server.
    pub(crate) async fn create_on(admin: &str) -> Self {
        let name = unique("t");
        let mut connection = PgConnection::connect(admin).await.unwrap();
        let statement = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let mut url = Url::parse(admin).unwrap();
        url.set_path(&name);
        Self { admin: admin.to_owned(), name, url: url.into() }
    }

    pub(crate) fn store(&self) -> Store {
        Store::connect(&self.url, StoreOptions::default()).unwrap()
    }

    /// Nobody finds it under its name, until it is put back.
    pub(crate) async fn put_aside(&self) {
        let (name, aside) = (&self.name, self.aside());
        self.admin(&format!("alter database {name} allow_connections false")).await;
        self.admin(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        ))
        .await;
        eventually("nobody is connected to it any more", async || {
            let renamed = format!("alter database {name} rename to {aside}");
            let mut connection = PgConnection::connect(&self.admin).await.unwrap();
            let outcome = sqlx::query(AssertSqlSafe(renamed)).execute(&mut connection).await;
            connection.close().await.unwrap();
            outcome.is_ok()
        })
        .await;
    }

    /// Everybody finds it again.
    pub(crate) async fn put_back(&self) {
        let (name, aside) = (&self.name, self.aside());
        self.admin(&format!("alter database {aside} allow_connections true")).await;
        self.admin(&format!("alter database {aside} rename to {name}")).await;
    }

    fn aside(&self) -> String {
        format!("{}_aside", self.name)
    }

    async fn admin(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.admin).await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn end(self) {
        let mut connection = PgConnection::connect(&self.admin).await.unwrap();
        let statement = AssertSqlSafe(format!("drop database {} with (force)", self.name));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
