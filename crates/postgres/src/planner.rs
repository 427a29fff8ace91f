//! How the planner may join: row by row where a statement comes with the keys of the rows that it writes.

use sqlx::PgConnection;

/// Which joins it could choose before.
pub(crate) struct Joins {
    hash: String,
    merge: String,
}

/// Has rows found by their index, in the order of what is asked for, until the transaction ends or [`Joins::allow`].
/// Otherwise the planner may take rows as they lie, and read all of a table for a thousand of them.
pub(crate) async fn row_by_row(connection: &mut PgConnection) -> sqlx::Result<Joins> {
    let (hash, merge) = sqlx::query_as(
        "select current_setting('enable_hashjoin'), current_setting('enable_mergejoin')",
    )
    .fetch_one(&mut *connection)
    .await?;
    set(connection, "off", "off").await?;
    Ok(Joins { hash, merge })
}

impl Joins {
    /// Allows them again.
    pub(crate) async fn allow(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        set(connection, &self.hash, &self.merge).await
    }
}

async fn set(connection: &mut PgConnection, hash: &str, merge: &str) -> sqlx::Result<()> {
    sqlx::query(
        "select set_config('enable_hashjoin', $1, true), set_config('enable_mergejoin', $2, true)",
    )
    .bind(hash)
    .bind(merge)
    .execute(connection)
    .await?;
    Ok(())
}
