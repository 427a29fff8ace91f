-- Clicks per link and UTC day (days since 1970): a report over months adds up days, and hours only where its period cuts
-- a day in two. Over ninety days that is a twentieth of the rows.
create table link_days (
    profile_id text not null,
    day integer not null,
    link_id text not null,
    clicks integer not null,
    primary key (profile_id, day, link_id)
) strict, without rowid;

-- Down to the day's first hour before dividing, which goes towards zero: hours before 1970 would come out a day late.
insert into link_days (profile_id, day, link_id, clicks)
select profile_id, (hour - (hour % 24 + 24) % 24) / 24, link_id, sum(clicks) from link_hours group by 1, 2, 3;

-- `verify` goes day by day.
create index link_days_day on link_days (day);
