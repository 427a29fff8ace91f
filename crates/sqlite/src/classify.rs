//! What to do about an error of SQLite's, decided here alone.

use std::path::Path;

use sqlx::migrate::MigrateError;
use treehook_event::{Cause, Failure};

/// What to do about an error of SQLite's or of its driver's.
pub(crate) fn failure(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => of_code(code(&*error), error.message()),
        sqlx::Error::PoolTimedOut => {
            Failure::transient("database_busy", "no connection to SQLite was free in time")
        }
        sqlx::Error::Encode(error) => Failure::poison("invalid_data", error),
        // Unknown means transient: waiting loses nothing.
        other => Failure::transient("database_unavailable", other),
    }
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>). The low byte is the primary code,
/// the rest is detail.
fn of_code(code: i32, message: &str) -> Failure {
    match code & 0xff {
        5 | 6 => Failure::transient("database_busy", message),
        7 => Failure::transient("out_of_memory", message),
        8 => Failure::transient("read_only", message),
        10 => Failure::transient("disk_io", message),
        // A damaged file does not heal while we wait, and writing on makes it worse.
        11 | 26 => Failure::fatal(
            "database_damaged",
            format!("{message}: stop treehook, move the file aside and restore it from a backup"),
        ),
        13 => Failure::transient("disk_full", message),
        18 | 20 => Failure::poison("invalid_data", message),
        19 => Failure::poison("constraint", message),
        _ => Failure::transient("database_error", message),
    }
}

fn code(error: &dyn sqlx::error::DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Whether another connection is in the way right now.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| matches!(code(error) & 0xff, 5 | 6))
}

/// As [`failure`], for a file that is being opened: what waiting does not mend is fatal here, and
/// says which file and what to do.
pub(crate) fn opening(error: sqlx::Error, path: &Path) -> Failure {
    let file = path.display();
    match failure(error) {
        Failure::Transient(Cause { reason, detail })
            if matches!(reason, "database_busy" | "disk_full" | "disk_io" | "out_of_memory") =>
        {
            Failure::Transient(Cause { reason, detail: format!("{file}: {detail}") })
        }
        Failure::Fatal(Cause { reason, detail }) => {
            Failure::Fatal(Cause { reason, detail: format!("{file}: {detail}") })
        }
        Failure::Transient(cause) | Failure::Poison(cause) => unopenable(path, &cause.detail),
    }
}

/// A file or directory that this process may not use.
pub(crate) fn unopenable(path: &Path, why: &str) -> Failure {
    Failure::fatal(
        "database_unopenable",
        format!(
            "{}: {why}: make it readable and writable for the user that runs treehook, or set \
             TREEHOOK_DATA_DIR to a directory that is",
            path.display()
        ),
    )
}

/// What to do when the schema cannot be brought up to date.
pub(crate) fn migration(error: MigrateError, path: &Path) -> Failure {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            opening(error, path)
        }
        other => Failure::fatal(
            "schema_mismatch",
            format!(
                "{}: {other}: another version of treehook has written this file; run that \
                 version, or a later one",
                path.display()
            ),
        ),
    }
}

/// A row that this version cannot read, met by a report: a wrong number would be worse than none.
/// Recording does not stop for it.
pub(crate) fn damaged(what: &str) -> Failure {
    Failure::fatal(
        "row_damaged",
        format!("{what} cannot be read: run `treehook verify --repair` to rebuild it"),
    )
}

/// A file that could not be rewritten after an erasure.
pub(crate) fn unscrubbed(failure: Failure) -> Failure {
    let told = |Cause { reason, detail }| Cause {
        reason,
        detail: format!(
            "{detail}: erased from every table, but copies may be left in the file's unused room \
             until it can be rewritten, for which it needs twice its size: erase again"
        ),
    };
    match failure {
        Failure::Transient(cause) => Failure::Transient(told(cause)),
        Failure::Poison(cause) => Failure::Poison(told(cause)),
        Failure::Fatal(cause) => Failure::Fatal(told(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_verdict() {
        for (code, kind, reason) in [
            (5, "transient", "database_busy"),
            (261, "transient", "database_busy"),
            (6, "transient", "database_busy"),
            (7, "transient", "out_of_memory"),
            (8, "transient", "read_only"),
            (10, "transient", "disk_io"),
            (778, "transient", "disk_io"),
            (13, "transient", "disk_full"),
            (11, "fatal", "database_damaged"),
            (26, "fatal", "database_damaged"),
            (18, "poison", "invalid_data"),
            (20, "poison", "invalid_data"),
            (19, "poison", "constraint"),
            (2067, "poison", "constraint"),
            (1, "transient", "database_error"),
            (14, "transient", "database_error"),
            (0, "transient", "database_error"),
        ] {
            let failure = of_code(code, "words");
            assert_eq!((kind_of(&failure), failure.cause().reason), (kind, reason), "{code}");
        }
    }

    #[test]
    fn errors_of_the_driver_are_transient_unless_the_value_is_at_fault() {
        for (error, kind) in [
            (sqlx::Error::PoolTimedOut, "transient"),
            (sqlx::Error::PoolClosed, "transient"),
            (sqlx::Error::WorkerCrashed, "transient"),
            (sqlx::Error::RowNotFound, "transient"),
            (sqlx::Error::Encode("too long".into()), "poison"),
        ] {
            assert_eq!(kind_of(&failure(error)), kind);
        }
    }

    #[test]
    fn a_schema_of_another_version_is_fatal_and_names_the_file() {
        let failure = migration(MigrateError::VersionMissing(7), Path::new("data/store.db"));
        assert_eq!(kind_of(&failure), "fatal");
        assert!(failure.cause().detail.contains("data/store.db"));
    }

    fn kind_of(failure: &Failure) -> &'static str {
        match failure {
            Failure::Transient(_) => "transient",
            Failure::Poison(_) => "poison",
            Failure::Fatal(_) => "fatal",
        }
    }
}
