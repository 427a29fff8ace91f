//! Every rollup can be proved from the archive, and rebuilt from it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use treehook_event::{Event, EventStore, Timestamp};
use treehook_sqlite::Store;

use crate::sample::{click, named, noon, tamper, titled, view};

struct Fixture {
    folder: TempDir,
    store: Store,
}

impl Fixture {
    /// Two days of clicks and views, one of them before 1970, and what events told of a link and
    /// its profile.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.migrate().await.unwrap();
        let early = Timestamp::from_millis(-1);
        let mut batch: Vec<Event> = (0..300).map(|number| click(number, noon())).collect();
        batch.extend((300..400).map(|number| view(number, early)));
        batch.push(click(400, early));
        batch.push(titled("t-2", "New", noon()));
        batch.push(titled("t-1", "Old", early));
        batch.push(named("n-1", "ada", noon()));
        store.record(&batch, noon()).await.unwrap();
        Self { folder, store }
    }

    fn file(&self) -> PathBuf {
        Path::new(self.folder.path()).join("store.db")
    }

    async fn rollups_that_differ(&self, repair: bool) -> Vec<&'static str> {
        let found = self.store.verify(repair).await.unwrap();
        let mut rollups: Vec<_> = found.iter().map(|difference| difference.rollup).collect();
        rollups.dedup();
        rollups
    }
}

#[tokio::test]
async fn what_was_recorded_verifies() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.verify(false).await, Ok(vec![]));
}

#[tokio::test]
async fn every_tampered_rollup_is_found_and_mended() {
    let fixture = Fixture::new().await;
    for (sql, rollup) in [
        ("update link_hours set clicks = clicks + 1 where hour > 0", "link_hours"),
        ("delete from link_hours where hour < 0", "link_hours"),
        ("insert into link_hours values ('studio', 1000, 'ghost', 7)", "link_hours"),
        ("update link_days set clicks = clicks + 1 where day > 0", "link_days"),
        ("delete from link_days where day < 0", "link_days"),
        ("insert into link_days values ('studio', 40, 'ghost', 7)", "link_days"),
        ("update profile_hours set views = 1 where hour < 0", "profile_hours"),
        ("delete from audience where dimension = 'country'", "audience"),
        ("insert into audience values ('ghost', 3, 'device', 'tablet', 2)", "audience"),
        ("delete from profile_visitors", "profile_visitors"),
        ("update profile_visitors set sketch = x'00'", "profile_visitors"),
        ("update link_visitors set link_id = 'other' where day > 0", "link_visitors"),
        ("update links set state = '{}'", "links"),
        ("update links set state = 'nonsense'", "links"),
        ("insert into links values ('studio', 'ghost', '{}')", "links"),
        ("delete from profiles", "profiles"),
        ("insert into profiles values ('ghost', '{}')", "profiles"),
    ] {
        tamper(&fixture.file(), sql).await;
        assert_eq!(fixture.rollups_that_differ(false).await, [rollup], "{sql}");
        assert_eq!(fixture.rollups_that_differ(true).await, [rollup], "{sql}");
        assert_eq!(fixture.store.verify(false).await, Ok(vec![]), "{sql}");
    }
}

#[tokio::test]
async fn a_difference_tells_both_numbers() {
    let fixture = Fixture::new().await;
    tamper(&fixture.file(), "update link_hours set clicks = 5 where hour > 0").await;
    let found = fixture.store.verify(false).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "studio/shop 2026-11-24T12:00Z");
    assert_eq!(found[0].archive, "300 clicks, 0 views");
    assert_eq!(found[0].stored, "5 clicks, 0 views");
}

#[tokio::test]
async fn more_differences_than_are_held_at_once_are_all_found_and_mended() {
    let fixture = Fixture::new().await;
    let ghosts = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 700) \
         insert into link_visitors select 'ghost', 5, 'link-' || i, x'00' from n";
    tamper(&fixture.file(), ghosts).await;
    assert_eq!(fixture.store.verify(false).await.unwrap().len(), 700);
    assert_eq!(fixture.store.verify(true).await.unwrap().len(), 700);
    assert_eq!(fixture.store.verify(false).await, Ok(vec![]));
}

#[tokio::test]
async fn days_that_retention_has_dropped_are_left_alone() {
    let fixture = Fixture::new().await;
    fixture.store.maintain(noon(), 30).await.unwrap();
    assert_eq!(fixture.store.verify(false).await, Ok(vec![]));

    // What only the dropped days could prove is believed; what the rest can prove is not.
    tamper(&fixture.file(), "update link_hours set clicks = 9 where hour < 0").await;
    assert_eq!(fixture.store.verify(true).await, Ok(vec![]));
    tamper(&fixture.file(), "update links set state = '{}'").await;
    assert_eq!(fixture.rollups_that_differ(true).await, ["links"]);
    assert_eq!(fixture.store.verify(false).await, Ok(vec![]));
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_found_on_days_that_retention_has_dropped_too() {
    let fixture = Fixture::new().await;
    fixture.store.maintain(noon(), 30).await.unwrap();
    tamper(&fixture.file(), "update link_visitors set sketch = x'00' where day < 0").await;
    let found = fixture.store.verify(false).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].archive.as_str(), found[0].stored.as_str()),
        ("nothing", "unreadable bytes")
    );
    assert_eq!(fixture.rollups_that_differ(true).await, ["link_visitors"]);
    assert_eq!(fixture.store.verify(false).await, Ok(vec![]));
}
