//! The database: whether it lets us in, whether its schema is ours, what its clock says.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;
use treehook_event::{EventStore as _, Failure, Timestamp};

use super::WAIT;
use super::finding::Finding;
use crate::clock;
use crate::config::Config;
use crate::store::Store;

/// Clocks further apart than this are worth a word, in milliseconds. Signatures tolerate 300 s.
const SKEW_MAX_MS: i64 = 5_000;

/// Connection, schema and clock.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    match &config.database_url {
        Some(url) => server(config, url).await,
        None => file(config).await,
    }
}

async fn server(config: &Config, url: &SecretString) -> Vec<Finding> {
    // Not through the pool: that waits for a server that is not there, and says only that it waited.
    let clock = match timeout(WAIT, ask(url)).await {
        Ok(Ok(clock)) => clock,
        Ok(Err(finding)) => return vec![finding],
        Err(_) => return vec![unreachable(&format!("no answer within {WAIT:?}"))],
    };
    let connected = Finding::ok("database", "answers");
    vec![connected, schema(config).await, skew("the database's clock", clock)]
}

/// The server's time against ours, halfway between question and answer.
async fn ask(url: &SecretString) -> Result<i64, Finding> {
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| {
        // Without what is wrong with it: the URL holds a password.
        let expected = "expected postgres://user:password@host:5432/database";
        Finding::fail("database", "TREEHOOK_DATABASE_URL cannot be read", expected)
    })?;
    let options = options.application_name("treehook doctor").disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| refused(&error))?;
    let before = clock::now();
    let theirs: i64 =
        sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| refused(&error))?;
    let after = clock::now();
    let ours = before.plus_millis(after.millis_since(before) / 2);
    // It has answered; how it takes our leave is of no matter.
    drop(PgConnection::close(connection).await);
    Ok(Timestamp::from_millis(theirs).millis_since(ours))
}

fn refused(error: &sqlx::Error) -> Finding {
    let Some(answer) = error.as_database_error() else { return unreachable(&error.to_string()) };
    let remedy = match answer.code().as_deref() {
        Some("28P01" | "28000") => "check user and password in TREEHOOK_DATABASE_URL",
        Some("3D000") => "create the database that TREEHOOK_DATABASE_URL names",
        Some(_) | None => "look at the server's log",
    };
    Finding::fail("database", answer.message(), remedy)
}

fn unreachable(what: &str) -> Finding {
    let remedy = "is it running, and reachable from here at TREEHOOK_DATABASE_URL?";
    Finding::fail("database", what, remedy)
}

async fn schema(config: &Config) -> Finding {
    let checking = async {
        let store = Store::open_existing(config.database_url.as_ref(), &config.data_dir).await?;
        store.check_schema().await
    };
    let late = || Failure::transient("timeout", format!("no answer within {WAIT:?}"));
    match timeout(WAIT, checking).await.unwrap_or_else(|_| Err(late())) {
        Ok(()) => Finding::ok("schema", "as this version needs it"),
        // The detail names the remedy.
        Err(failure) => Finding::fail("schema", failure.cause().detail.clone(), ""),
    }
}

/// `SQLite`: its clock is ours, so the newest event is what there is to compare with.
async fn file(config: &Config) -> Vec<Finding> {
    if !config.data_dir.join("store.db").is_file() {
        return vec![
            Finding::ok("database", "none yet; SQLite makes it in the data directory"),
            no_clock(),
        ];
    }
    let asking = async {
        let store = Store::open_existing(None, &config.data_dir).await?;
        // Brings it up to date where that is still to be done, as every command does.
        store.check_schema().await?;
        store.tally().await
    };
    let late = || Failure::transient("timeout", format!("no answer within {WAIT:?}"));
    match timeout(WAIT, asking).await.unwrap_or_else(|_| Err(late())) {
        Ok(tally) => {
            let newest = tally.newest_event.map(|newest| newest.millis_since(clock::now()));
            // Nothing happens in the future: then it is our clock that is behind.
            let clock = newest.filter(|ahead| *ahead > SKEW_MAX_MS);
            vec![
                Finding::ok("database", format!("SQLite; {} events are counted", tally.applied)),
                Finding::ok("schema", "as this version needs it"),
                clock.map_or_else(no_clock, |ahead| skew("the newest event", ahead)),
            ]
        }
        Err(failure) => vec![Finding::fail(
            "database",
            failure.cause().detail.clone(),
            "is the disk full, or the file another user's or damaged?",
        )],
    }
}

fn no_clock() -> Finding {
    Finding::ok("clock", "no other clock to compare with; NTP should run")
}

fn skew(whose: &str, ahead_ms: i64) -> Finding {
    let seconds = ahead_ms.unsigned_abs().div_ceil(1000);
    if ahead_ms.abs() <= SKEW_MAX_MS {
        return Finding::ok("clock", format!("within {} s of {whose}", SKEW_MAX_MS / 1000));
    }
    let direction = if ahead_ms > 0 { "behind" } else { "ahead of" };
    Finding::warn(
        "clock",
        format!("this machine is {seconds} s {direction} {whose}"),
        "run NTP on both: signatures are refused as stale beyond the tolerance",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn clocks_may_be_five_seconds_apart() {
        for (ahead, grade, word) in [
            (0, Grade::Ok, "within"),
            (-5_000, Grade::Ok, "within"),
            (5_001, Grade::Warn, "6 s behind"),
            (-61_000, Grade::Warn, "61 s ahead of"),
        ] {
            let finding = skew("it", ahead);
            assert_eq!(finding.grade, grade, "{ahead}");
            assert!(finding.what.contains(word), "{}", finding.what);
        }
    }
}
