//! Many rows in one statement: a round to the connection's thread per row is what would cost.

use futures_util::future::join;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use tokio::task::yield_now;
use treehook_event::Failure;

use crate::classify::failure;

/// Rows in one statement: as many as fit of the largest number, then of the next, then what is left. Enough to make the
/// round trip cheap; few enough that a statement of 17 columns stays far below SQLite's 32,766 parameters.
const SIZES: [usize; 4] = [1024, 256, MERGED_MAX, 64];

/// Rows in one statement where what is stored is read, merged and written: sketches are up to 16 KiB each.
pub(crate) const MERGED_MAX: usize = 128;

/// Rows after which others have their turn, where many are made ready at once: the connection's thread may wait for the
/// next statement of another batch.
const TURN: usize = 64;

/// Where a row's values are pushed.
pub(crate) type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// Runs `head values (...), (...) tail` over all rows, many at a time.
pub(crate) async fn execute<T>(
    connection: &mut SqliteConnection,
    head: &str,
    tail: &str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> Result<(), Failure> {
    let mut statements =
        chunks(rows).map(|chunk| (with_values(head, tail, chunk, &bind), is_full(chunk)));
    let mut next = statements.next();
    while let Some((mut statement, is_full)) = next {
        // Only full ones come again word for word and are worth keeping prepared.
        let executing = statement.build().persistent(is_full).execute(&mut *connection);
        // The next one is made while the connection's thread is at this one.
        let (executed, following) = join(executing, async { statements.next() }).await;
        executed.map_err(failure)?;
        next = following;
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

/// The same; others have their turn every few rows.
pub(crate) async fn with_values_in_turns<T>(
    head: &str,
    tail: &str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(head);
    let mut opening = " values (";
    for turn in turns(rows) {
        for row in turn {
            statement.push(opening);
            opening = ", (";
            bind(&mut statement.separated(", "), row);
            statement.push(")");
        }
        yield_now().await;
    }
    statement.push(' ').push(tail);
    statement
}

/// Rows by turn.
pub(crate) fn turns<T>(rows: &[T]) -> std::slice::Chunks<'_, T> {
    rows.chunks(TURN)
}

/// Rows by statement.
pub(crate) fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= left.len()).unwrap_or(left.len());
        let (chunk, rest) = left.split_at(size);
        left = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Whether a statement over these rows is one that comes again.
pub(crate) fn is_full<T>(rows: &[T]) -> bool {
    SIZES.contains(&rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_chunk_in_order_and_most_chunks_come_again() {
        for (rows, sizes) in [
            (0, vec![]),
            (63, vec![63]),
            (64, vec![64]),
            (300, vec![256, 44]),
            (700, vec![256, 256, 128, 60]),
            (2500, vec![1024, 1024, 256, 128, 64, 4]),
        ] {
            let rows: Vec<usize> = (0..rows).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunks.concat(), rows);
            assert_eq!(chunks.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), sizes);
        }
    }
}
