-- Clicks per link and UTC day: a report over months adds up days, and hours only where its period cuts a day in two. Over
-- ninety days that is a twentieth of the rows.
create table link_days (
    profile_id text collate "C" not null,
    day date not null,
    link_id text collate "C" not null,
    clicks bigint not null,
    primary key (profile_id, day, link_id)
) with (fillfactor = 80);

insert into link_days (profile_id, day, link_id, clicks)
select profile_id, (hour at time zone 'UTC')::date, link_id, sum(clicks) from link_hours group by 1, 2, 3;
