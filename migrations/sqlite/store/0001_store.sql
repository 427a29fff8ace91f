-- The archive, and the dedupe: an event is applied if and only if its row is here.
--
-- A rowid table with the key beside it, not a table clustered by key: keys are hashes, and rows of
-- some hundred bytes would be inserted all over a large file. Like this only the narrow index is.
create table events (
    -- Spelled out, since rewriting the file would number the rows anew otherwise, and never used
    -- again: whoever walks over the archive in steps misses nothing.
    id integer primary key autoincrement,
    -- A hash of source and identity, without the event time: the same identity under another event
    -- time is the same event, on whatever day either of them falls, for as long as the row is kept.
    key blob not null check (length(key) = 16),
    -- The UTC day of `occurred_at`, in days since 1970.
    day integer not null,
    source text not null,
    identity text not null,
    type text not null,
    -- Milliseconds since 1970, all three.
    occurred_at integer not null,
    received_at integer not null,
    applied_at integer not null,
    profile_id text,
    link_id text,
    -- What is counted has columns, so that `verify` can recount in SQL.
    kind text check (kind in ('click', 'view')),
    country text,
    referrer text,
    device text,
    -- A pseudonym of 64 bits, as a signed integer.
    visitor integer,
    -- The event's body as JSON where the columns do not hold all of it; null for a plain visit.
    detail text,
    -- What the platform sent, personal data removed.
    payload text not null
) strict;

create unique index events_key on events (key);
-- For retention and `verify`, which go day by day.
create index events_day on events (day);
-- For the history of a profile and its links: few among the clicks and views.
create index events_history on events (profile_id, occurred_at, key)
    where type in ('link.created', 'link.updated', 'link.deleted', 'profile.updated');

-- Clicks per link and UTC hour (hours since 1970). The hour stands before the link: reports read a
-- profile's period.
create table link_hours (
    profile_id text not null,
    hour integer not null,
    link_id text not null,
    clicks integer not null,
    primary key (profile_id, hour, link_id)
) strict, without rowid;

create table profile_hours (
    profile_id text not null,
    hour integer not null,
    views integer not null,
    clicks integer not null,
    primary key (profile_id, hour)
) strict, without rowid;

-- Clicks per UTC day and country, device or referrer.
create table audience (
    profile_id text not null,
    day integer not null,
    dimension text not null,
    value text not null,
    clicks integer not null,
    primary key (profile_id, day, dimension, value)
) strict, without rowid;

-- Sketches of visitors per UTC day. With rowid: a sketch of 16 KiB has no place in the inner pages
-- of a tree.
create table profile_visitors (
    profile_id text not null,
    day integer not null,
    sketch blob not null,
    primary key (profile_id, day)
) strict;

create table link_visitors (
    profile_id text not null,
    day integer not null,
    link_id text not null,
    sketch blob not null,
    primary key (profile_id, day, link_id)
) strict;

-- `verify` goes day by day. Only a row's first insert touches these, at their end.
create index link_hours_hour on link_hours (hour);
create index profile_hours_hour on profile_hours (hour);
create index audience_day on audience (day);
create index profile_visitors_day on profile_visitors (day);
create index link_visitors_day on link_visitors (day);

-- What links and profiles are now: JSON, each field with the stamp of the event that wrote it.
create table links (
    profile_id text not null,
    link_id text not null,
    state text not null,
    primary key (profile_id, link_id)
) strict;

create table profiles (
    profile_id text not null primary key,
    state text not null
) strict;

create table milestones (
    key blob not null primary key check (length(key) = 16),
    profile_id text not null,
    link_id text,
    metric text,
    threshold integer,
    value integer,
    at integer not null
) strict;

create index milestones_profile on milestones (profile_id, at);

create table dead_letters (
    key blob not null primary key check (length(key) = 16),
    source text not null,
    identity text not null,
    type text not null,
    reason text not null,
    occurred_at integer not null,
    first_at integer not null,
    last_at integer not null,
    attempts integer not null,
    -- The event in CloudEvents' JSON format: what redrive publishes again.
    event text not null
) strict;

-- What the pipeline has done, over all processes and time.
create table tally (
    id integer primary key check (id = 1),
    applied integer not null,
    duplicates integer not null,
    newest_event integer
) strict;

insert into tally (id, applied, duplicates, newest_event) values (1, 0, 0, null);

-- `archive_from_day`: the archive holds this day and later ones whole. Absent while nothing was
-- dropped.
create table meta (
    name text not null primary key,
    value integer not null
) strict;
