-- The ledger: what receivers promised against what became of it.

-- A row for each counting: a source at a receiver, from one of its starts to the next. A receiver of
-- sixteen zeros gathers what old countings came to.
create table ledger_countings (
    receiver text collate "C" not null,
    epoch bigint not null,
    source text collate "C" not null,
    -- The receiver's latest statement, as JSON; null until one has come.
    version bigint,
    statement text,
    stated_at timestamptz,
    -- Every number below is settled or void, and stands in the three counts.
    settled_to bigint not null default 0,
    applied bigint not null default 0,
    duplicates bigint not null default 0,
    dead bigint not null default 0,
    -- What is settled beyond, as JSON.
    pending text not null default '{}',
    -- The counting is over and every promise in it is kept.
    is_complete boolean not null default false,
    primary key (receiver, epoch, source)
) with (fillfactor = 50);

-- What each batch settled, written in the batch's own transaction: rows that are only ever added, so
-- that workers do not wait for each other. They are folded into the above every few seconds.
create table ledger_settled (
    id bigint generated always as identity primary key,
    receiver text collate "C" not null,
    epoch bigint not null,
    source text collate "C" not null,
    -- Sequence numbers as JSON.
    settled text not null
);
