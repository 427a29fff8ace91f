-- What batches add to the rollups, until it is added. Every batch writes one row, in its own transaction, and waits
-- for nobody; whoever folds adds up many batches at once, so that a link that is clicked ten thousand times a
-- second is written once a second.
create table rollup_deltas (
    id bigint generated always as identity primary key,
    -- Which version wrote it: a worker folds what it knows how to read, and leaves the rest to its successors.
    version smallint not null,
    -- When the batch was recorded, by its worker's clock: what is live by then is kept by the minute.
    recorded_at timestamptz not null,
    -- By the clock that says how long it has waited.
    created_at timestamptz not null default now(),
    delta bytea not null,
    -- It cannot be added. The archive holds its events: `treehook verify --repair` counts them and removes it.
    is_stuck boolean not null default false
);
-- Kept as they are: what lives for a second is not worth compressing.
alter table rollup_deltas alter column delta set storage external;
-- Rows come and go by the thousand: their room is to be used again before the table has grown by a fifth of
-- what it was.
alter table rollup_deltas set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000
);

-- Holds nothing: whoever folds has locked it. A lock on a table, unlike one on a row or a number, is had before a
-- transaction's moment is set.
create table rollup_folding ();
