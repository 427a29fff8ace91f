//! Recording: archive and tally a batch in one transaction along with what it adds, so that an event counts once.

use futures_util::future::join;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use treehook_event::{Event, Recorded, Timestamp, settled};

use crate::archive::{self, Batch};
use crate::columns::{bigint, moment};
use crate::connect::Shared;
use crate::{classify, deltas, ledger};

/// How often a batch is begun anew because a day was dropped just then. It is dropped once; more often
/// than this, something else is wrong.
const ATTEMPTS_MAX: u32 = 3;

/// Records a batch.
pub(crate) async fn record(
    connection: &mut PgConnection,
    shared: &Shared,
    events: &[Event],
    now: Timestamp,
) -> sqlx::Result<Recorded> {
    if events.is_empty() {
        return Ok(Recorded::default());
    }
    let batch = Batch::of(events).await;
    let days = batch.days();
    let mut attempt = 1;
    loop {
        shared.partitions.ensure(connection, &days).await?;
        match record_once(connection, shared, &batch, events, now).await {
            Err(error) if classify::is_no_partition(&error) && attempt < ATTEMPTS_MAX => {
                shared.partitions.forget();
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// The tables are always visited in this order, and the rows of the archive in order of key, so that two
/// workers never wait for each other in a circle. What is added to others' rows is folded in later.
async fn record_once(
    connection: &mut PgConnection,
    shared: &Shared,
    batch: &Batch<'_>,
    events: &[Event],
    now: Timestamp,
) -> sqlx::Result<Recorded> {
    let (mut transaction, fresh, delta) = archive(connection, shared, batch, now).await?;
    deltas::keep(&mut transaction, delta, now).await?;
    ledger::settle(&mut transaction, &settled(events, &fresh)).await?;
    let duplicates = u64::try_from(events.len() - fresh.len()).unwrap_or(u64::MAX);
    let recorded = Recorded { fresh, duplicates };
    tally(&mut transaction, &shared.instance, events, &recorded, now).await?;
    transaction.commit().await?;
    Ok(recorded)
}

/// Archives a batch in a transaction; answers that, the positions of the fresh events and what they add. While no
/// duplicates come, the latter is made before the batch has its turn and beside the copy, as if none did.
async fn archive<'c>(
    connection: &'c mut PgConnection,
    shared: &Shared,
    batch: &Batch<'_>,
    now: Timestamp,
) -> sqlx::Result<(Transaction<'c, Postgres>, Vec<usize>, Option<Vec<u8>>)> {
    let is_calm = !shared.caution.is_due();
    let expected =
        async { if is_calm { Some(delta(batch, &batch.positions()).await) } else { None } };
    let archiving = async {
        // Over before the commit, which waits for the disk while the next batch is copied.
        let _turn = shared.turns.take().await;
        let mut transaction = connection.begin().await?;
        let fresh = archive::insert(&mut transaction, batch, &shared.caution, now).await?;
        Ok::<_, sqlx::Error>((transaction, fresh))
    };
    let (archived, expected) = join(archiving, expected).await;
    let (transaction, fresh) = archived?;
    let delta = match expected {
        Some(delta) if fresh.len() == batch.len() => delta,
        Some(_) | None => delta(batch, &fresh).await,
    };
    Ok((transaction, fresh, delta))
}

/// What these events of a batch add, as it is stored; nothing where that is nothing.
async fn delta(batch: &Batch<'_>, positions: &[usize]) -> Option<Vec<u8>> {
    let rollup = batch.fold(positions).await;
    (!rollup.is_empty()).then(|| rollup.to_delta())
}

/// Last, since every batch of this process waits for this row. `instance` is that of this process.
async fn tally(
    connection: &mut PgConnection,
    instance: &str,
    events: &[Event],
    recorded: &Recorded,
    now: Timestamp,
) -> sqlx::Result<()> {
    let newest = recorded.fresh.iter().map(|position| events[*position].occurred_at).max();
    sqlx::query(
        "insert into tallies as t (instance, applied, duplicates, newest_event, updated_at)
         values ($1::uuid, $2, $3, $4, $5)
         on conflict (instance) do update set
             applied = t.applied + excluded.applied,
             duplicates = t.duplicates + excluded.duplicates,
             newest_event = greatest(t.newest_event, excluded.newest_event),
             updated_at = greatest(t.updated_at, excluded.updated_at)",
    )
    .bind(instance)
    .bind(i64::try_from(recorded.fresh.len()).unwrap_or(i64::MAX))
    .bind(bigint(recorded.duplicates))
    .bind(newest.map(moment))
    .bind(moment(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// How long a proof waits to be let into the archive: it is asked for again and again.
const PROOF_LOCK_TIMEOUT: &str = "set local lock_timeout = '1s'";

/// Commits a change that changes nothing, to this process's row: proof that a batch could be
/// committed. Whoever keeps writers out of the archive, as a repair does, would keep that batch out too: it is locked as
/// an insert locks it. The server's clock will do: it only says that the process is there.
pub(crate) async fn prove_commit(
    connection: &mut PgConnection,
    instance: &str,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query(PROOF_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    sqlx::query("lock table only events in row exclusive mode").execute(&mut *transaction).await?;
    sqlx::query(
        "insert into tallies as t (instance, applied, duplicates, newest_event, updated_at)
         values ($1::uuid, 0, 0, null, now())
         on conflict (instance) do update
             set updated_at = greatest(t.updated_at, excluded.updated_at)",
    )
    .bind(instance)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
