//! What is kept about one profile or one visitor, asked of whichever store this deployment has.

use treehook_event::{Erased, Failure, HistoryRow, Key, ProfileId, Subjects, Timestamp, VisitorId};

use crate::store::Store;

impl Subjects for Store {
    async fn history(
        &self,
        profile: &ProfileId,
        after: Option<(Timestamp, Key)>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, Failure> {
        match self {
            Self::Postgres(store) => store.history(profile, after, limit).await,
            Self::Sqlite(store) => store.history(profile, after, limit).await,
        }
    }

    async fn erase_visitor(&self, visitor: VisitorId) -> Result<Erased, Failure> {
        match self {
            Self::Postgres(store) => store.erase_visitor(visitor).await,
            Self::Sqlite(store) => store.erase_visitor(visitor).await,
        }
    }

    async fn erase_profile(&self, profile: &ProfileId) -> Result<Erased, Failure> {
        match self {
            Self::Postgres(store) => store.erase_profile(profile).await,
            Self::Sqlite(store) => store.erase_profile(profile).await,
        }
    }
}
