-- Dead letters keep their history through a redrive, and tell of which profile they are.

-- What the event names, be it in its payload alone. Null where it names none, and in letters older
-- than this column until they are buried again.
alter table dead_letters add column profile_id text collate "C";

-- A letter whose event was published again leaves the list. What stays is what it continues from
-- when the event is buried once more; upkeep forgets what never came back.
create table redriven_letters (
    key bytea not null primary key,
    first_at timestamptz not null,
    attempts integer not null,
    redriven_at timestamptz not null
);
