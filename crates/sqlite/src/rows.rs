//! Reading columns back into the domain's types.

use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};
use treehook_event::{Day, Failure, Hour, Key, LinkId, ProfileId, Timestamp};

use crate::classify::{damaged, failure};

/// A column as it is.
pub(crate) fn read<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    column: &str,
) -> Result<T, Failure> {
    row.try_get(column).map_err(failure)
}

/// A count, which is never negative.
pub(crate) fn count(row: &SqliteRow, column: &str) -> Result<u64, Failure> {
    u64::try_from(read::<i64>(row, column)?).map_err(|_| damaged("a negative count"))
}

/// Milliseconds.
pub(crate) fn timestamp(row: &SqliteRow, column: &str) -> Result<Timestamp, Failure> {
    read(row, column).map(Timestamp::from_millis)
}

/// The column `hour`.
pub(crate) fn hour(row: &SqliteRow) -> Result<Hour, Failure> {
    read(row, "hour").map(Hour)
}

/// The column `day`.
pub(crate) fn day(row: &SqliteRow) -> Result<Day, Failure> {
    read(row, "day").map(Day)
}

/// The column `profile_id`.
pub(crate) fn profile_id(row: &SqliteRow) -> Result<ProfileId, Failure> {
    read(row, "profile_id").map(ProfileId::trusted)
}

/// The column `link_id`.
pub(crate) fn link_id(row: &SqliteRow) -> Result<LinkId, Failure> {
    read(row, "link_id").map(LinkId::trusted)
}

/// The column `key`.
pub(crate) fn key(row: &SqliteRow) -> Result<Key, Failure> {
    let bytes: &[u8] = read(row, "key")?;
    bytes.try_into().map(Key).map_err(|_| damaged("a key of the wrong length"))
}
