//! Many rows in one statement: a round to the connection's thread per row is what would cost.

use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use treehook_event::Failure;

use crate::classify::failure;

/// Rows in one statement. Enough to make the round trip cheap; few enough that a statement of 17
/// columns stays far below SQLite's 32,766 parameters and is quickly parsed.
pub(crate) const ROWS_MAX: usize = 64;

/// Where a row's values are pushed.
pub(crate) type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// Runs `head values (...), (...) tail` over all rows, `ROWS_MAX` at a time.
pub(crate) async fn execute<T>(
    connection: &mut SqliteConnection,
    head: &str,
    tail: &str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> Result<(), Failure> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut statement = with_values(head, tail, chunk, &bind);
        // Only full ones come again word for word and are worth keeping prepared.
        let executed = statement.build().persistent(is_full(chunk)).execute(&mut *connection).await;
        executed.map_err(failure)?;
    }
    Ok(())
}

/// `head values (...), (...) tail`.
pub(crate) fn with_values<T>(
    head: &str,
    tail: &str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(head);
    statement.push(' ').push_values(rows, |mut values, row| bind(&mut values, row));
    statement.push(' ').push(tail);
    statement
}

/// Whether a statement over these rows is one that comes again.
pub(crate) fn is_full<T>(rows: &[T]) -> bool {
    rows.len() == ROWS_MAX
}
