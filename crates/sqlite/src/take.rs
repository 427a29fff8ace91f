//! What is taken from the queue together: decided by the sizes of its rows, before any payload is read.

use sqlx::{SqlitePool, query_scalar};
use treehook_event::Failure;

use crate::classify::failure;

/// Encoded bytes taken at once, beyond the first row: bounds what a turn holds in memory, and what a
/// relay has to get confirmed in one.
const BYTES_MAX: i64 = 4 << 20;
/// Rows whose sizes are looked at first, at least: each is a page that is read.
const ROWS_FIRST: usize = 64;
/// How many times as many are looked at where all of those would be taken.
const MORE: usize = 4;

/// What would be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Take {
    /// The last row of it.
    pub(crate) last: i64,
    pub(crate) rows: usize,
    pub(crate) events: i64,
    /// Nothing would be left.
    pub(crate) is_all: bool,
}

/// A row's id, its events and their bytes.
type Size = (i64, i64, i64);

/// What to take of the rows after `cursor` that are not `settled`, an array of ids in JSON. Twice the rows of the last
/// take are looked at first: rows hold one event or a hundred, and about as many as those before them.
pub(crate) async fn of(
    readers: &SqlitePool,
    cursor: i64,
    settled: &str,
    limit: usize,
    rows_last: usize,
) -> Result<Option<Take>, Failure> {
    let limit = limit.max(1);
    let mut rows_max = rows_last.saturating_mul(2).max(ROWS_FIRST).min(limit);
    loop {
        let sizes = sizes(readers, cursor, settled, rows_max).await?;
        let take = within(&sizes, limit);
        // All of those that were looked at, and there may be more.
        let would_take_more = take.is_some_and(|take| take.is_all) && sizes.len() >= rows_max;
        if !would_take_more || rows_max >= limit {
            return Ok(take.map(|take| Take { is_all: take.is_all && !would_take_more, ..take }));
        }
        rows_max = rows_max.saturating_mul(MORE).min(limit);
    }
}

/// The sizes of so many rows, in one row: each row by itself would wake whoever waits for it.
async fn sizes(
    readers: &SqlitePool,
    cursor: i64,
    settled: &str,
    rows_max: usize,
) -> Result<Vec<Size>, Failure> {
    let sizes: String = query_scalar(
        "select json_group_array(json_array(id, events, bytes) order by id) from (\
             select id, events, bytes from batches where id > ?1 \
             and id not in (select value from json_each(?2)) order by id limit ?3)",
    )
    .bind(cursor)
    .bind(settled)
    .bind(i64::try_from(rows_max).unwrap_or(i64::MAX))
    .fetch_one(readers)
    .await
    .map_err(failure)?;
    serde_json::from_str(&sizes).map_err(|error| Failure::fatal("queue", error))
}

/// As many rows, from the first on, as together stay within the limits; the first one always does.
fn within(sizes: &[Size], limit: usize) -> Option<Take> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut bytes = 0_i64;
    let mut take: Option<Take> = None;
    for (id, row_events, row_bytes) in sizes {
        let (rows, events) = take.map_or((0, 0), |take| (take.rows, take.events));
        let events = events.saturating_add(*row_events);
        bytes = bytes.saturating_add(*row_bytes);
        if take.is_some() && (events > limit || bytes > BYTES_MAX) {
            return take.map(|take| Take { is_all: false, ..take });
        }
        take = Some(Take { last: *id, rows: rows + 1, events, is_all: true });
    }
    take
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use treehook_event::{Event, Publisher as _, Timestamp};

    use super::*;
    use crate::queue::{Queue, QueueLimits};

    #[test]
    fn rows_are_taken_while_they_fit_and_the_first_one_always() {
        let mib = BYTES_MAX;
        let take = |last, rows, events, is_all| Some(Take { last, rows, events, is_all });
        for (sizes, limit, taken) in [
            (vec![], 10, None),
            (vec![(7, 50, 1)], 10, take(7, 1, 50, true)),
            (vec![(7, 5, 1), (8, 5, 1), (9, 1, 1)], 10, take(8, 2, 10, false)),
            (vec![(7, 5, 1), (8, 6, 1), (9, 1, 1)], 10, take(7, 1, 5, false)),
            (vec![(7, 1, mib / 2), (8, 1, mib / 2), (9, 1, 1)], 10, take(8, 2, 2, false)),
            (vec![(7, 1, 20 * mib), (8, 1, 1)], 10, take(7, 1, 1, false)),
            (vec![(7, 1, 1), (8, 2, 1)], 10, take(8, 2, 3, true)),
            (vec![(7, 1, 1)], 0, take(7, 1, 1, true)),
        ] {
            assert_eq!(within(&sizes, limit), taken, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn however_many_rows_there_are_all_that_fit_are_found() {
        let folder = TempDir::new().unwrap();
        let queue = Queue::open(folder.path(), QueueLimits::default()).await.unwrap();
        for number in 0..300_u64 {
            let event = Event::unreadable(&number.to_le_bytes(), "small", Timestamp::default());
            queue.publish(&[event]).await.unwrap();
        }
        let readers = queue.database.readers();
        for rows_last in [0, 1, 100, 1000] {
            for (limit, rows, is_all) in [
                (0, 1, false),
                (1, 1, false),
                (70, 70, false),
                (299, 299, false),
                (300, 300, false),
                (301, 300, true),
            ] {
                let take = of(readers, 0, "[]", limit, rows_last).await.unwrap().unwrap();
                assert_eq!((take.rows, take.is_all), (rows, is_all), "{limit} of {rows_last}");
                let after = of(readers, take.last, "[]", limit, rows_last).await.unwrap();
                assert_eq!(after.is_none(), take.rows == 300);
            }
        }
        let take = of(readers, 0, "[1, 3]", 3, 0).await.unwrap().unwrap();
        assert_eq!((take.rows, take.last), (3, 5));
    }
}
