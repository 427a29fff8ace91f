//! The four tables whose rows are merged, and the statements for each.
//!
//! All statements take the same arrays, profile, link, day and then value, and leave unused what the
//! table does not have. States travel as the bytes of their JSON, so that all values are bytes.
//! What narrows the archive by days or profiles is said apart from the join, for the planner to leave
//! out what it need not read.

/// The statements for one table.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Rows that are merged at a time: at most 4 MiB on either side, if every one of them held a full sketch.
    pub(crate) merged_max: usize,
    /// Inserts the rows that are not there, in order of key, and returns their places.
    pub(crate) insert: &'static str,
    /// Locks rows in order of key, and returns them.
    pub(crate) lock: &'static str,
    /// Rewrites rows.
    pub(crate) update: &'static str,
    /// Removes rows.
    pub(crate) delete: &'static str,
    /// What the archive says of rows: place, and then a visitor, or who told which detail when. The
    /// arrays alone, without a value.
    pub(crate) told: &'static str,
}

pub(crate) const PROFILE_VISITORS: Table = Table {
    name: "profile_visitors",
    merged_max: 250,
    insert: "
insert into profile_visitors (profile_id, day, sketch)
select profile_id, day, value
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
order by profile_id, day
on conflict do nothing
returning profile_id, null::text as link_id, day",
    lock: "
select t.profile_id, null::text as link_id, t.day, t.sketch as value
from profile_visitors t
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on t.profile_id = n.profile_id and t.day = n.day
order by t.profile_id, t.day
for update of t",
    update: "
update profile_visitors t set sketch = n.value
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
where t.profile_id = n.profile_id and t.day = n.day",
    delete: "
delete from profile_visitors t
using unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
where t.profile_id = n.profile_id and t.day = n.day",
    told: "
select distinct e.profile_id, null::text as link_id, e.day, e.visitor,
    null::text as identity, null::timestamptz as occurred_at, null::text as detail
from events e
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on e.profile_id = n.profile_id and e.day = n.day
where e.day = any($3::date[]) and e.kind is not null and e.visitor is not null",
};

pub(crate) const LINK_VISITORS: Table = Table {
    name: "link_visitors",
    merged_max: 1000,
    insert: "
insert into link_visitors (profile_id, day, link_id, sketch)
select profile_id, day, link_id, value
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
order by profile_id, day, link_id
on conflict do nothing
returning profile_id, link_id, day",
    lock: "
select t.profile_id, t.link_id, t.day, t.sketch as value
from link_visitors t
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on t.profile_id = n.profile_id and t.day = n.day and t.link_id = n.link_id
order by t.profile_id, t.day, t.link_id
for update of t",
    update: "
update link_visitors t set sketch = n.value
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
where t.profile_id = n.profile_id and t.day = n.day and t.link_id = n.link_id",
    delete: "
delete from link_visitors t
using unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
where t.profile_id = n.profile_id and t.day = n.day and t.link_id = n.link_id",
    told: "
select distinct e.profile_id, e.link_id, e.day, e.visitor,
    null::text as identity, null::timestamptz as occurred_at, null::text as detail
from events e
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on e.profile_id = n.profile_id and e.link_id = n.link_id and e.day = n.day
where e.day = any($3::date[]) and e.kind = 'click' and e.visitor is not null",
};

pub(crate) const PROFILES: Table = Table {
    name: "profiles",
    merged_max: 1000,
    insert: "
insert into profiles (profile_id, state)
select profile_id, convert_from(value, 'UTF8')::jsonb
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
order by profile_id
on conflict do nothing
returning profile_id, null::text as link_id, null::date as day",
    lock: "
select t.profile_id, null::text as link_id, null::date as day,
    convert_to(t.state::text, 'UTF8') as value
from profiles t
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on t.profile_id = n.profile_id
order by t.profile_id
for update of t",
    update: "
update profiles t set state = convert_from(n.value, 'UTF8')::jsonb
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
where t.profile_id = n.profile_id",
    delete: "
delete from profiles t
using unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
where t.profile_id = n.profile_id",
    told: "
select e.profile_id, null::text as link_id, null::date as day, null::bigint as visitor,
    e.identity, e.occurred_at, e.detail
from events e
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on e.profile_id = n.profile_id
where e.type = 'profile.updated' and e.profile_id = any($1::text[])",
};

pub(crate) const LINKS: Table = Table {
    name: "links",
    merged_max: 1000,
    insert: "
insert into links (profile_id, link_id, state)
select profile_id, link_id, convert_from(value, 'UTF8')::jsonb
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
order by profile_id, link_id
on conflict do nothing
returning profile_id, link_id, null::date as day",
    lock: "
select t.profile_id, t.link_id, null::date as day, convert_to(t.state::text, 'UTF8') as value
from links t
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on t.profile_id = n.profile_id and t.link_id = n.link_id
order by t.profile_id, t.link_id
for update of t",
    update: "
update links t set state = convert_from(n.value, 'UTF8')::jsonb
from unnest($1::text[], $2::text[], $3::date[], $4::bytea[]) as n (profile_id, link_id, day, value)
where t.profile_id = n.profile_id and t.link_id = n.link_id",
    delete: "
delete from links t
using unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
where t.profile_id = n.profile_id and t.link_id = n.link_id",
    told: "
select e.profile_id, e.link_id, null::date as day, null::bigint as visitor,
    e.identity, e.occurred_at, e.detail
from events e
join unnest($1::text[], $2::text[], $3::date[]) as n (profile_id, link_id, day)
    on e.profile_id = n.profile_id and e.link_id = n.link_id
where e.profile_id = any($1::text[]) and e.detail is not null",
};
