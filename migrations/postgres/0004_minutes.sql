-- The last two hours by minute: what dashboards call live. Younger rows come with each batch, older ones
-- are forgotten by upkeep; the hours hold the same for good.
create table profile_minutes (
    profile_id text collate "C" not null,
    minute timestamptz not null,
    views bigint not null,
    clicks bigint not null,
    primary key (profile_id, minute)
) with (fillfactor = 50);
