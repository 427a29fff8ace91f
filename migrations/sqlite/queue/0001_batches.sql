-- One row is one encoded batch of 1 to n events: a row per event is what costs, not its bytes.
create table batches (
    -- Consumers remember how far they have read. Without autoincrement an emptied table would start
    -- again at 1, behind every cursor.
    id integer primary key autoincrement,
    -- Milliseconds; the database's own clock, so that every process that looks agrees on the age.
    created_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    events integer not null check (events > 0),
    bytes integer not null,
    -- Last, so that the columns before it are read without following it over overflow pages.
    payload blob not null
) strict;

-- What `batches` adds up to, kept by triggers: the limit is checked and the depth is read without a
-- scan, and both are right whichever process published or settled.
create table totals (
    id integer primary key check (id = 1),
    events integer not null,
    bytes integer not null
) strict;

insert into totals (id, events, bytes) values (1, 0, 0);

create trigger batches_published after insert on batches begin
    update totals set events = events + new.events, bytes = bytes + new.bytes;
end;

create trigger batches_settled after delete on batches begin
    update totals set events = events - old.events, bytes = bytes - old.bytes;
end;
