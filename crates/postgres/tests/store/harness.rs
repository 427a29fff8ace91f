//! A schema of its own for every test, and the events that the stories are told with.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use treehook_event::{
    Body, Day, Device, Event, EventStore as _, Identity, LinkChange, LinkChangeKind, LinkFields,
    LinkId, Milestone, ProfileFields, ProfileId, Recorded, SourceName, Timestamp, Visit, VisitKind,
    VisitorId,
};
use treehook_postgres::{Store, StoreOptions};

/// A migrated store in a schema of its own.
#[derive(Clone)]
pub(crate) struct Scratch {
    pub(crate) schema: String,
    pub(crate) store: Store,
}

pub(crate) fn database_url() -> String {
    std::env::var("TREEHOOK_TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!("set TREEHOOK_TEST_DATABASE_URL to a Postgres where schemas may be created")
    })
}

pub(crate) fn options(schema: &str) -> StoreOptions {
    StoreOptions {
        acquire_timeout: Duration::from_secs(20),
        application_name: "treehook-test".to_owned(),
        schema: Some(schema.to_owned()),
        ..StoreOptions::default()
    }
}

/// Tells a story in a schema that is migrated before and dropped after it, however it ends.
pub(crate) async fn with_store<S>(story: impl FnOnce(Scratch) -> S)
where
    S: Future<Output = ()> + Send + 'static,
{
    with_empty_schema(async |scratch: Scratch| {
        scratch.store.migrate().await.expect("migrates");
        tokio::spawn(story(scratch)).await
    })
    .await;
}

/// As [`with_store`], without the migration.
pub(crate) async fn with_empty_schema(
    told: impl AsyncFnOnce(Scratch) -> Result<(), tokio::task::JoinError>,
) {
    let schema = format!("test_{:016x}", rand::random::<u64>());
    let store = Store::connect(&database_url(), options(&schema)).expect("connects");
    let outcome = told(Scratch { schema: schema.clone(), store: store.clone() }).await;
    store.close().await;
    let mut connection = PgConnection::connect(&database_url()).await.expect("connects");
    let drop = format!("drop schema if exists {schema} cascade");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await.expect("drops its schema");
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}

impl Scratch {
    /// Another process on the same schema.
    pub(crate) fn another(&self) -> Store {
        Store::connect(&database_url(), options(&self.schema)).expect("connects")
    }

    /// A connection for looking behind the scenes.
    pub(crate) async fn connection(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&database_url()).await.expect("connects");
        let path = format!("set search_path = {}", self.schema);
        sqlx::query(AssertSqlSafe(path)).execute(&mut connection).await.expect("sets the path");
        connection
    }

    /// Runs a statement behind the store's back.
    pub(crate) async fn meddle(&self, statement: &str) -> u64 {
        let mut connection = self.connection().await;
        let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        done.expect(statement).rows_affected()
    }

    /// A number behind the scenes.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let mut connection = self.connection().await;
        let number =
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await;
        number.expect(query)
    }

    /// A text behind the scenes.
    pub(crate) async fn text(&self, query: &str) -> String {
        let mut connection = self.connection().await;
        let text =
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await;
        text.expect(query)
    }

    /// Asks as a user who may read every table and no more.
    pub(crate) async fn as_reader<T>(&self, asked: impl AsyncFnOnce(&Store) -> T) -> T {
        let (schema, role) = (&self.schema, format!("reader_{}", self.schema));
        for statement in [
            format!("create role {role} login"),
            format!("grant usage on schema {schema} to {role}"),
            format!("grant select on all tables in schema {schema} to {role}"),
        ] {
            self.meddle(&statement).await;
        }
        let url = database_url();
        let (_, place) = url.split_once('@').expect("the test database's URL names a user");
        let reader = Store::connect(&format!("postgres://{role}@{place}"), options(schema));
        let reader = reader.expect("connects");
        let answer = asked(&reader).await;
        reader.close().await;
        for statement in [format!("drop owned by {role}"), format!("drop role {role}")] {
            self.meddle(&statement).await;
        }
        answer
    }

    /// Which days the archive has.
    pub(crate) async fn days(&self) -> Vec<String> {
        let mut connection = self.connection().await;
        let names = sqlx::query_scalar(
            "select right(c.relname::text, 8) from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'events'::regclass order by 1",
        )
        .fetch_all(&mut connection)
        .await;
        names.expect("lists the days")
    }

    /// Recorded and added to the rollups, for whoever looks behind the scenes.
    pub(crate) async fn record(&self, events: &[Event]) -> Recorded {
        let recorded = self.store.record(events, at("2026-11-24T12:00:00Z")).await;
        self.store.catch_up(Duration::ZERO).await.expect("catches up");
        recorded.expect("records")
    }

    /// Nothing differs between archive and rollups.
    pub(crate) async fn is_sound(&self) {
        assert_eq!(self.store.verify(false).await.expect("verifies"), Vec::new());
    }
}

pub(crate) fn at(time: &str) -> Timestamp {
    Timestamp::from_rfc3339(time).expect(time)
}

pub(crate) fn day(iso: &str) -> Day {
    Day::from_iso(iso).expect(iso)
}

pub(crate) fn profile() -> ProfileId {
    ProfileId::trusted("p1")
}

pub(crate) fn event(id: &str, time: &str, body: Body) -> Event {
    Event {
        source: SourceName::trusted("linktree"),
        identity: Identity::trusted(id),
        occurred_at: at(time),
        received_at: at(time),
        entry: None,
        body,
        payload: "{}".into(),
    }
}

/// Spread as pseudonyms are.
pub(crate) fn visitor_id(number: u64) -> VisitorId {
    VisitorId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A click on `link` of profile `p1`.
pub(crate) fn click(id: &str, time: &str, link: &str, visitor: u64) -> Event {
    let visit = Visit {
        kind: VisitKind::Click { link_id: LinkId::trusted(link) },
        profile_id: profile(),
        visitor: Some(visitor_id(visitor)),
        country: "DE".into(),
        referrer: "direct".into(),
        device: Device::Mobile,
        link: None,
    };
    event(id, time, Body::Visit(visit))
}

/// A view of profile `p1`.
pub(crate) fn view(id: &str, time: &str, visitor: u64) -> Event {
    let mut view = click(id, time, "", visitor);
    if let Body::Visit(visit) = &mut view.body {
        visit.kind = VisitKind::View;
    }
    view
}

pub(crate) fn milestone(id: &str, time: &str) -> Event {
    let milestone = Milestone {
        profile_id: profile(),
        link_id: Some(LinkId::trusted("l1")),
        metric: Some("clicks".to_owned()),
        threshold: Some(1000),
        value: None,
    };
    event(id, time, Body::Milestone(milestone))
}

/// Link `l1` of profile `p1` has a title.
pub(crate) fn titled(id: &str, time: &str, title: &str) -> Event {
    let fields = LinkFields { title: Some(title.to_owned()), ..LinkFields::default() };
    let change = LinkChange {
        change: LinkChangeKind::Updated,
        profile_id: profile(),
        link_id: LinkId::trusted("l1"),
        fields,
    };
    event(id, time, Body::Link(change.into()))
}

/// Profile `p1` has a name.
pub(crate) fn named(id: &str, time: &str, name: &str) -> Event {
    let fields = ProfileFields {
        profile_id: profile(),
        username: Some(name.to_owned()),
        display_name: None,
        bio: None,
        avatar_url: None,
        theme: None,
    };
    event(id, time, Body::Profile(fields.into()))
}

/// A click that brings its link, as Dub's do.
pub(crate) fn telling(id: &str, time: &str, link: &str, visitor: u64) -> Event {
    let mut click = click(id, time, link, visitor);
    if let Body::Visit(visit) = &mut click.body {
        visit.link = Some(LinkFields { url: Some(None), ..LinkFields::default() }.into());
    }
    click
}

/// The same event of another profile.
pub(crate) fn of(profile: &str, mut event: Event) -> Event {
    let id = ProfileId::trusted(profile);
    match &mut event.body {
        Body::Visit(visit) => visit.profile_id = id,
        Body::Link(change) => change.profile_id = id,
        Body::Profile(fields) => fields.profile_id = id,
        Body::Milestone(milestone) => milestone.profile_id = id,
        Body::Unknown { .. } | Body::Unfit { .. } | Body::Statement(_) => (),
    }
    event
}
