//! What links and profiles are now, as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use treehook_event::{
    Event, Failure, Identity, LinkId, LinkState, ProfileId, ProfileState, SourceName, fold,
};

use crate::bulk::Values;
use crate::classify::damaged;
use crate::merged::{Merged, Table};
use crate::rows::{read, timestamp};

/// Every link of which an event has told anything.
pub(crate) const LINKS: Table<(ProfileId, LinkId), LinkState> = Table {
    name: "links",
    keys: "profile_id, link_id",
    value: "state",
    recount: "select profile_id, link_id, source, identity, occurred_at, detail, null as value \
         from events where profile_id is not null and link_id is not null and detail is not null \
         union all select profile_id, link_id, null, null, null, null, state from links \
         order by profile_id, link_id",
    learn: |known, key, row| {
        let rollup = fold([&archived(row)?]);
        let mut links = rollup.links();
        let said = links.find(|(profile, link, _)| (*profile, *link) == (&key.0, &key.1));
        let said = said.map(|(.., said)| said.clone());
        Ok(match (known, said) {
            (Some(mut known), Some(said)) => {
                known.merge(&said);
                Some(known)
            }
            (known, said) => known.or(said),
        })
    },
};

/// Every profile that an event has named.
pub(crate) const PROFILES: Table<ProfileId, ProfileState> = Table {
    name: "profiles",
    keys: "profile_id",
    value: "state",
    recount: "select distinct profile_id, null as source, null as identity, null as occurred_at, \
         null as detail, null as value from events where profile_id is not null \
         union all select profile_id, source, identity, occurred_at, detail, null from events \
         where profile_id is not null and type = 'profile.updated' and detail is not null \
         union all select profile_id, null, null, null, null, state from profiles \
         order by profile_id",
    learn: |known, key, row| {
        let mut known = known.unwrap_or_default();
        if read::<Option<&str>>(row, "detail")?.is_some() {
            let rollup = fold([&archived(row)?]);
            let said = rollup.profiles().find(|(profile, _)| *profile == key);
            if let Some(said) = said.and_then(|(_, said)| said) {
                known.merge(said);
            }
        }
        Ok(Some(known))
    },
};

/// An event as far as its row holds what `fold` needs of states.
fn archived(row: &SqliteRow) -> Result<Event, Failure> {
    let body = serde_json::from_str(read(row, "detail")?).map_err(|_| {
        Failure::fatal(
            "archive_damaged",
            "an archived event cannot be read: a later version of treehook has written it, or the \
             file is damaged",
        )
    })?;
    Ok(Event {
        source: SourceName::trusted(read(row, "source")?),
        identity: Identity::trusted(read(row, "identity")?),
        occurred_at: timestamp(row, "occurred_at")?,
        received_at: timestamp(row, "occurred_at")?,
        entry: None,
        body,
        payload: "null".into(),
    })
}

/// A state from its column `value`.
pub(crate) fn state<S: DeserializeOwned>(row: &SqliteRow) -> Result<S, Failure> {
    serde_json::from_str(read(row, "value")?).map_err(|_| damaged("a link's or a profile's state"))
}

fn json<S: Serialize>(state: &S) -> String {
    serde_json::to_string(state).expect("writing JSON to memory cannot fail")
}

impl Merged for LinkState {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        state(row)
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(json(self));
    }

    fn absorb(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.merge(other);
        *self != before
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn describe(&self) -> String {
        json(self)
    }
}

impl Merged for ProfileState {
    fn read(row: &SqliteRow) -> Result<Self, Failure> {
        state(row)
    }

    fn bind(&self, values: &mut Values<'_>) {
        values.push_bind(json(self));
    }

    fn absorb(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.merge(other);
        *self != before
    }

    fn agrees(&self, other: &Self) -> bool {
        self == other
    }

    fn describe(&self) -> String {
        json(self)
    }
}
