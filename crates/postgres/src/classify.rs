//! What a database error means for the work at hand. Unknown means transient: waiting loses nothing.

use sqlx::Error;
use treehook_event::Failure;

/// A row of ours that cannot be read: damaged, or written by somebody else.
#[derive(Debug, thiserror::Error)]
#[error("a row of `{table}` cannot be read")]
pub(crate) struct Unreadable {
    /// Where it stands.
    pub(crate) table: &'static str,
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::Decode(Box::new(unreadable))
    }
}

/// What was recorded and is not part of the rollups yet, to somebody who needs all of it.
#[derive(Debug, thiserror::Error)]
#[error(
    "batches wait to be added to the rollups by somebody else: ask again, as a user who may write, or with the \
     version that recorded them"
)]
pub(crate) struct Behind;

impl From<Behind> for Error {
    fn from(behind: Behind) -> Self {
        Self::Decode(Box::new(behind))
    }
}

/// Whose turn it is to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The database's: it will be well again.
    Database,
    /// The deployment's: somebody has to mend it. Fatal at the start. Later it is waited out: what
    /// `check_schema` has vouched for and then goes missing is being migrated, restored or failed
    /// over, and a worker that keeps its batch in hand loses nothing.
    Deployment,
    /// The event's.
    Event,
}

/// What an SQLSTATE means, the more specific first; a code means every code that begins with it.
const MEANINGS: [(&str, Fault, &str, &str); 21] = [
    ("08", Fault::Database, "connection", "the connection broke"),
    ("22", Fault::Event, "invalid_data", "the database refuses a value"),
    ("23", Fault::Event, "constraint", "a value breaks a constraint"),
    ("25006", Fault::Database, "read_only", "the database is read-only"),
    ("25P03", Fault::Database, "timeout", "the transaction stood still for too long"),
    ("28", Fault::Deployment, "refused_credentials", "the database refuses user or password"),
    ("3D000", Fault::Deployment, "missing_database", "the database does not exist"),
    ("3F000", Fault::Deployment, "missing_schema", "the schema does not exist"),
    ("40001", Fault::Database, "serialization", "another transaction came first"),
    ("40P01", Fault::Database, "deadlock", "transactions waited for each other"),
    ("42501", Fault::Deployment, "missing_privilege", "the user lacks a privilege"),
    ("42", Fault::Deployment, "schema", "the schema is not the one that was expected"),
    ("53100", Fault::Database, "disk_full", "the database's disk is full"),
    ("53300", Fault::Database, "too_many_connections", "all connections are taken"),
    ("53", Fault::Database, "out_of_resources", "the database is out of resources"),
    ("54000", Fault::Event, "invalid_data", "a value is larger than the database takes"),
    (LOCK_TIMEOUT, Fault::Database, "lock_timeout", "a lock was not to be had in time"),
    (STATEMENT_TIMEOUT, Fault::Database, "timeout", "the statement took too long"),
    ("57P03", Fault::Database, "starting", "the database is starting"),
    ("57P", Fault::Database, "shutting_down", "the database is shutting down"),
    ("58", Fault::Database, "database_disk", "the database cannot use its disk"),
];

/// A lock that was not to be had within `lock_timeout`.
const LOCK_TIMEOUT: &str = "55P03";
/// A statement that was cancelled, as the server does after `statement_timeout`.
const STATEMENT_TIMEOUT: &str = "57014";

/// The failure of work on events.
pub(crate) fn failure(error: Error) -> Failure {
    classified(error, false)
}

/// The failure of a start: what only somebody can mend is fatal.
pub(crate) fn failure_at_start(error: Error) -> Failure {
    classified(error, true)
}

/// Whether a row found no partition for its day: it was never made, or has been dropped meanwhile.
pub(crate) fn is_no_partition(error: &Error) -> bool {
    // A violated check names its constraint; a row without a partition has none to name.
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("23514") && error.constraint().is_none()
    })
}

/// Whether a lock was not to be had in time.
pub(crate) fn is_lock_timeout(error: &Error) -> bool {
    has_code(error, &[LOCK_TIMEOUT])
}

/// Whether a table is not there.
pub(crate) fn is_missing_table(error: &Error) -> bool {
    has_code(error, &["42P01"])
}

/// Whether the server gave up on a statement that took too long.
pub(crate) fn is_statement_timeout(error: &Error) -> bool {
    has_code(error, &[STATEMENT_TIMEOUT])
}

/// Whether a row is there already.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    has_code(error, &["23505"])
}

/// Whether another transaction came first: begun anew, this one may succeed.
pub(crate) fn is_conflict(error: &Error) -> bool {
    has_code(error, &["40001", "40P01"])
}

/// Whether whoever asked may read and no more: a standby, a user without the privilege.
pub(crate) fn may_not_write(error: &Error) -> bool {
    has_code(error, &["25006", "42501"])
}

/// Whether it is the fault of what was to be written, so that it fails every time.
pub(crate) fn is_poison(error: &Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let failure = answered(&error.code().unwrap_or_default(), "", None, false);
    matches!(failure, Failure::Poison(_))
}

fn has_code(error: &Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| codes.contains(&&*code))
}

fn classified(error: Error, at_start: bool) -> Failure {
    if is_no_partition(&error) {
        return Failure::transient("no_partition", "a day of the archive is missing");
    }
    match error {
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            answered(&code, error.message(), error.constraint(), at_start)
        }
        Error::Io(error) => Failure::transient("connection", error),
        // The error may quote the URL, and with it the password.
        Error::Configuration(_) => {
            Failure::fatal("database_url", "the database URL cannot be used")
        }
        Error::Tls(_) => Failure::transient("tls", "no TLS connection to the database"),
        Error::PoolTimedOut => Failure::transient(
            "connection",
            "no connection in time: the database is away, or every connection is busy",
        ),
        Error::PoolClosed => Failure::transient("closed", "the store has been closed"),
        Error::Encode(_) => Failure::poison("invalid_data", "a value cannot be stored"),
        Error::Decode(source) if source.is::<Behind>() => Failure::transient("behind", source),
        Error::Decode(source) => match source.downcast_ref::<Unreadable>() {
            Some(unreadable) => Failure::transient(
                "unreadable_row",
                format!("{unreadable}; `treehook verify --repair` rebuilds it"),
            ),
            None => Failure::transient("unreadable_row", "a value cannot be read"),
        },
        // Their texts may quote values; what they are is enough to look for the cause.
        Error::ColumnDecode { index, .. } => {
            Failure::transient("unreadable_row", format!("column {index} cannot be read"))
        }
        Error::Protocol(_) => Failure::transient("protocol", "an answer makes no sense"),
        _ => Failure::transient("database", "the database could not be used"),
    }
}

/// What the database answered with this code. Its message is passed on only where it cannot quote
/// what an event holds.
fn answered(code: &str, message: &str, constraint: Option<&str>, at_start: bool) -> Failure {
    let Some((_, fault, reason, meaning)) =
        MEANINGS.iter().find(|(known, ..)| code.starts_with(known))
    else {
        return Failure::transient("database", format!("SQLSTATE {code}"));
    };
    let described = format!("{meaning} (SQLSTATE {code}): {message}");
    match fault {
        Fault::Deployment if at_start => Failure::fatal(reason, described),
        Fault::Database | Fault::Deployment => Failure::transient(reason, described),
        Fault::Event => {
            let constraint = constraint.map(|name| format!(", {name}")).unwrap_or_default();
            Failure::poison(reason, format!("{meaning} (SQLSTATE {code}{constraint})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Kind {
        Transient,
        Poison,
        Fatal,
    }

    fn kind(failure: &Failure) -> Kind {
        match failure {
            Failure::Transient(_) => Kind::Transient,
            Failure::Poison(_) => Kind::Poison,
            Failure::Fatal(_) => Kind::Fatal,
        }
    }

    #[test]
    fn every_answer_is_named_by_what_to_do_about_it() {
        use Kind::{Fatal, Poison, Transient};
        for (code, working, starting, reason) in [
            ("08006", Transient, Transient, "connection"),
            ("22021", Poison, Poison, "invalid_data"),
            ("22P05", Poison, Poison, "invalid_data"),
            ("23505", Poison, Poison, "constraint"),
            ("25006", Transient, Transient, "read_only"),
            ("25P03", Transient, Transient, "timeout"),
            ("28P01", Transient, Fatal, "refused_credentials"),
            ("28000", Transient, Fatal, "refused_credentials"),
            ("3D000", Transient, Fatal, "missing_database"),
            ("3F000", Transient, Fatal, "missing_schema"),
            ("40001", Transient, Transient, "serialization"),
            ("40P01", Transient, Transient, "deadlock"),
            ("42501", Transient, Fatal, "missing_privilege"),
            ("42P01", Transient, Fatal, "schema"),
            ("42703", Transient, Fatal, "schema"),
            ("53100", Transient, Transient, "disk_full"),
            ("53200", Transient, Transient, "out_of_resources"),
            ("53300", Transient, Transient, "too_many_connections"),
            ("54000", Poison, Poison, "invalid_data"),
            ("55P03", Transient, Transient, "lock_timeout"),
            ("57014", Transient, Transient, "timeout"),
            ("57P01", Transient, Transient, "shutting_down"),
            ("57P03", Transient, Transient, "starting"),
            ("58030", Transient, Transient, "database_disk"),
            ("XX000", Transient, Transient, "database"),
            ("P0001", Transient, Transient, "database"),
            ("", Transient, Transient, "database"),
        ] {
            let (later, first) =
                (answered(code, "m", None, false), answered(code, "m", None, true));
            assert_eq!((kind(&later), kind(&first)), (working, starting), "{code}");
            assert_eq!(later.cause().reason, reason, "{code}");
        }
    }

    #[test]
    fn what_an_event_holds_is_never_quoted() {
        for code in ["22P02", "23505", "54000", "XX000"] {
            let failure = answered(code, "invalid input: \"secret\"", None, false);
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
        let source = "postgres://user:secret@host".into();
        assert!(!failure(Error::Configuration(source)).to_string().contains("secret"));
    }

    #[test]
    fn errors_of_the_driver_are_waited_out() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unreadable = Unreadable { table: "links" };
        for (error, reason) in [
            (Error::Io(refused), "connection"),
            (Error::PoolTimedOut, "connection"),
            (Error::PoolClosed, "closed"),
            (Error::WorkerCrashed, "database"),
            (Error::RowNotFound, "database"),
            (unreadable.into(), "unreadable_row"),
        ] {
            let failure = failure_at_start(error);
            assert_eq!(kind(&failure), Kind::Transient, "{failure}");
            assert_eq!(failure.cause().reason, reason);
        }
    }
}
