-- The last two hours by minute (minutes since 1970): what dashboards call live. Younger rows come with
-- each batch, older ones are forgotten by upkeep; the hours hold the same for good.
create table profile_minutes (
    profile_id text not null,
    minute integer not null,
    views integer not null,
    clicks integer not null,
    primary key (profile_id, minute)
) strict, without rowid;
