//! A database of its own on the shared Postgres.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use treehook_postgres::{Store, StoreOptions};
use url::Url;

use super::{server_url, unique};

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

    pub(crate) async fn end(self) {
        let mut connection = PgConnection::connect(&self.admin).await.unwrap();
        let statement = AssertSqlSafe(format!("drop database {} with (force)", self.name));
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
