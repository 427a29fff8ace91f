-- The server store: archive with dedupe, rollups, projections, dead letters.
--
-- Ids are collated "C": they are compared as bytes, as the code compares them, and no upgrade of
-- the system's locale can silently reorder an index.

-- The archive and the dedupe are one table, so that an event and its identity cannot part.
--
-- It is partitioned by the UTC day of the event time: forgetting a day is dropping a table, and the
-- partition is found from the event alone, never from the time of receipt, so that an identity is
-- found again wherever its row was put. What holds:
--   * the same identity under the same event time is recorded once, always;
--   * the same identity under another time of the same UTC day is recorded once, by the primary key;
--   * within 30 minutes of midnight the neighbouring day is looked at too, since a sender that
--     renders the envelope anew for each retry tries for about 21 minutes: recorded once, unless two
--     workers record both at the very same moment;
--   * the same identity under times further apart, on different days, is taken for two events.
--
-- There is no default partition: it would have to be scanned whenever a day is attached. Days are
-- made ahead by upkeep, and on demand for what comes late.
create table events (
    day date not null,
    -- 16 bytes of SHA-256 over source and identity: short enough for an index.
    key bytea not null,
    source text not null,
    -- Null once its profile is erased, as is everything below that tells of it: key and day are what
    -- makes a retried delivery a duplicate.
    identity text,
    type text not null,
    occurred_at timestamptz not null,
    received_at timestamptz not null,
    applied_at timestamptz not null,
    profile_id text collate "C",
    link_id text collate "C",
    -- 'click' or 'view'; null for everything that is not counted.
    kind text,
    country text,
    referrer text,
    device text,
    -- A pseudonym of 64 bits, as the signed number with the same bits.
    visitor bigint,
    -- The derived event as JSON, where the columns do not hold all of it.
    detail text,
    -- What the platform sent, personal data removed, byte for byte: text, since jsonb would not
    -- give it back as it came.
    payload text not null,
    constraint events_key_has_16_bytes check (octet_length(key) = 16),
    constraint events_kind_is_known check (kind in ('click', 'view')),
    primary key (day, key)
) partition by range (day);

-- The history of a profile. Changes are rare: visits, which are nearly all there is, pay nothing.
create index events_changes on events (profile_id, occurred_at, key)
    where type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated');

-- Rollups. The room left in each page (fillfactor) lets a count be raised where it stands, without
-- touching an index. The hour comes before the link: reports read ranges of hours.

create table link_hours (
    profile_id text collate "C" not null,
    hour timestamptz not null,
    link_id text collate "C" not null,
    clicks bigint not null,
    primary key (profile_id, hour, link_id)
) with (fillfactor = 80);

create table profile_hours (
    profile_id text collate "C" not null,
    hour timestamptz not null,
    views bigint not null,
    clicks bigint not null,
    primary key (profile_id, hour)
) with (fillfactor = 80);

create table audience (
    profile_id text collate "C" not null,
    day date not null,
    dimension text collate "C" not null,
    value text collate "C" not null,
    clicks bigint not null,
    primary key (profile_id, day, dimension, value),
    constraint audience_dimension_is_known check (dimension in ('country', 'device', 'referrer'))
) with (fillfactor = 80);

-- Visitors are sketches that the code merges, the same bytes in every mode. They are stored as they
-- are: they hardly compress, and trying costs more than it saves.

create table profile_visitors (
    profile_id text collate "C" not null,
    day date not null,
    sketch bytea not null,
    primary key (profile_id, day)
) with (fillfactor = 70);
alter table profile_visitors alter column sketch set storage external;

create table link_visitors (
    profile_id text collate "C" not null,
    day date not null,
    link_id text collate "C" not null,
    sketch bytea not null,
    primary key (profile_id, day, link_id)
) with (fillfactor = 70);
alter table link_visitors alter column sketch set storage external;

-- Projections: each field of the state with the event time and identity of who wrote it last.

create table profiles (
    profile_id text collate "C" not null primary key,
    state jsonb not null
) with (fillfactor = 80);

create table links (
    profile_id text collate "C" not null,
    link_id text collate "C" not null,
    state jsonb not null,
    primary key (profile_id, link_id)
) with (fillfactor = 80);

create table milestones (
    key bytea not null primary key,
    profile_id text collate "C" not null,
    link_id text collate "C",
    metric text,
    threshold bigint,
    value bigint,
    at timestamptz not null
);
create index milestones_latest on milestones (profile_id, at desc, key);

create table dead_letters (
    key bytea not null primary key,
    source text not null,
    identity text not null,
    type text not null,
    reason text not null,
    occurred_at timestamptz not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    attempts integer not null,
    -- The event in CloudEvents' JSON format: what redrive publishes again.
    event text not null
);

-- Announcements that the broker would not take: a memory alarm stops publishers, while applying goes
-- on. A consumer holds rows under a lease rather than a lock, since it keeps them over several calls.
create table announcements (
    id bigint generated always as identity primary key,
    -- A CloudEvents batch, as it will stand in the broker's message.
    batch bytea not null,
    events bigint not null,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    claimed_by uuid,
    claimed_until timestamptz
) with (fillfactor = 80);

-- Their sum, in one row: adding up the table for every insert would read all of it.
create table announcements_total (
    only_row boolean not null primary key default true check (only_row),
    bytes bigint not null
) with (fillfactor = 10);
insert into announcements_total (bytes) values (0);

-- One row per process, so that workers do not queue for a single counter; upkeep folds the rows of
-- processes that are gone into the row of nobody. Nearly empty pages: few rows, changed all day.
create table tallies (
    instance uuid not null primary key,
    applied bigint not null,
    duplicates bigint not null,
    newest_event timestamptz,
    updated_at timestamptz not null
) with (fillfactor = 10);

-- What is known of the store itself. 'archive_from': the first day that the archive still holds
-- whole; absent while it holds all of them.
create table meta (
    name text collate "C" not null primary key,
    value text collate "C" not null
);
