//! The schema: brought up to date by `migrate`, vouched for by `check_schema`.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use treehook_event::Failure;

use crate::classify;
use crate::connect::Store;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/postgres");

/// What a migration may take, and what those who start beside it may wait for it.
const MIGRATE_MAX: Duration = Duration::from_mins(15);
/// As [`MIGRATE_MAX`], for the server: somewhat less, so that its answer comes first.
const MIGRATION_STATEMENT_TIMEOUT: &str = "14min";
/// What looking at the schema may take.
const CHECK_MAX: Duration = Duration::from_secs(35);

impl Store {
    /// Brings the schema up to date. Safe when many start at once: an advisory lock lets one at a
    /// time through.
    pub async fn migrate(&self) -> Result<(), Failure> {
        match tokio::time::timeout(MIGRATE_MAX, self.migrate_patiently()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::transient("timeout", "the migration did not end in time")),
        }
    }

    async fn migrate_patiently(&self) -> Result<(), Failure> {
        let shared = &self.shared;
        let server =
            shared.server.clone().options([("statement_timeout", MIGRATION_STATEMENT_TIMEOUT)]);
        // A connection of its own: when a migration fails, the lock goes with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(shared.acquire_timeout)
            .connect_lazy_with(server);
        let outcome = migrate_in(&pool, shared.schema.as_deref()).await;
        pool.close().await;
        outcome
    }

    /// Whether the schema is the one that this version knows. Fatal when it is missing, behind or
    /// ahead; transient when the database cannot be asked.
    pub async fn check_schema(&self) -> Result<(), Failure> {
        let mut connection =
            self.shared.pool.acquire().await.map_err(classify::failure_at_start)?;
        let applied = tokio::time::timeout(CHECK_MAX, applied(&mut connection)).await;
        let Ok(applied) = applied else {
            connection.close_on_drop();
            return Err(Failure::transient("timeout", "the database did not answer in time"));
        };
        let (encoding, applied) = applied.map_err(classify::failure_at_start)?;
        if encoding != "UTF8" {
            let remedy = "create the database with `encoding 'UTF8'`";
            return Err(Failure::fatal("encoding", format!("it is {encoding}: {remedy}")));
        }
        compare(&applied, &known())
    }
}

async fn migrate_in(pool: &PgPool, schema: Option<&str>) -> Result<(), Failure> {
    if let Some(schema) = schema {
        let mut connection = pool.acquire().await.map_err(classify::failure_at_start)?;
        create_schema(&mut connection, schema).await.map_err(classify::failure_at_start)?;
    }
    MIGRATOR.run(pool).await.map_err(unmigrated)
}

/// Creates the schema unless it is there. Asked first: creating needs a privilege, even in vain.
async fn create_schema(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    // Two that create the same schema at once would fail, `if not exists` or not.
    sqlx::query("select pg_advisory_xact_lock(hashtext('treehook schema'), hashtext($1))")
        .bind(schema)
        .execute(&mut *transaction)
        .await?;
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *transaction)
            .await?;
    if !exists {
        // A plain name: `connect` has seen to it.
        sqlx::query(AssertSqlSafe(format!("create schema {schema}")))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// Checksums by version.
type Migrations = BTreeMap<i64, Vec<u8>>;

fn known() -> Migrations {
    MIGRATOR
        .iter()
        .map(|migration| (migration.version, migration.checksum.clone().into_owned()))
        .collect()
}

/// The server's encoding, and what has been applied; nothing when there is no schema yet.
async fn applied(connection: &mut PgConnection) -> sqlx::Result<(String, Migrations)> {
    let encoding =
        sqlx::query_scalar("select current_setting('server_encoding')").fetch_one(&mut *connection);
    let encoding = encoding.await?;
    let rows: sqlx::Result<Vec<(i64, Vec<u8>)>> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success")
            .fetch_all(connection)
            .await;
    match rows {
        Ok(rows) => Ok((encoding, rows.into_iter().collect())),
        Err(error) if classify::is_missing_table(&error) => Ok((encoding, Migrations::new())),
        Err(error) => Err(error),
    }
}

fn compare(applied: &Migrations, known: &Migrations) -> Result<(), Failure> {
    for (version, checksum) in applied {
        match known.get(version) {
            None => return Err(newer(*version)),
            Some(ours) if ours != checksum => return Err(altered(*version)),
            Some(_) => (),
        }
    }
    let missing = known.keys().filter(|version| !applied.contains_key(version)).count();
    match missing {
        0 => Ok(()),
        _ if applied.is_empty() => {
            let remedy = "run `treehook migrate`";
            Err(Failure::fatal("schema_missing", format!("there is no schema: {remedy}")))
        }
        _ => {
            let remedy = "run `treehook migrate`";
            Err(Failure::fatal("schema_behind", format!("{missing} migrations behind: {remedy}")))
        }
    }
}

fn newer(version: i64) -> Failure {
    let problem = format!("migration {version} is not known to this version");
    let remedy = "start the version that ran `treehook migrate` last, or a newer one";
    Failure::fatal("schema_newer", format!("{problem}: {remedy}"))
}

fn altered(version: i64) -> Failure {
    let problem = format!("migration {version} is not the one that was applied");
    let remedy = "use a released build, and a database that `treehook migrate` has made";
    Failure::fatal("schema_altered", format!("{problem}: {remedy}"))
}

fn unmigrated(error: MigrateError) -> Failure {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            classify::failure_at_start(error)
        }
        MigrateError::VersionMissing(version) => newer(version),
        MigrateError::VersionMismatch(version) => altered(version),
        other => Failure::fatal("migration", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_fits_when_it_holds_what_is_known_and_no_more() {
        let set = |versions: &[i64]| -> Migrations {
            versions.iter().map(|version| (*version, vec![1])).collect()
        };
        let known = set(&[1, 2]);
        assert_eq!(compare(&set(&[1, 2]), &known), Ok(()));
        let mut changed = set(&[1]);
        changed.insert(2, vec![9]);
        for (applied, reason) in [
            (set(&[]), "schema_missing"),
            (set(&[1]), "schema_behind"),
            (set(&[1, 2, 3]), "schema_newer"),
            (changed, "schema_altered"),
        ] {
            let refused = compare(&applied, &known).expect_err(reason);
            assert!(matches!(refused, Failure::Fatal(_)));
            assert_eq!(refused.cause().reason, reason);
        }
    }
}
