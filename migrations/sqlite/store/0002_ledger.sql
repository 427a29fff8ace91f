-- The ledger: what receivers promised against what became of it.

-- A row for each counting: a source at a receiver, from one of its starts to the next. A receiver of
-- sixteen zeros gathers what old countings came to.
create table ledger_countings (
    receiver text not null,
    epoch integer not null,
    source text not null,
    -- The receiver's latest statement, as JSON; null until one has come.
    version integer,
    statement text,
    stated_at integer,
    -- Every number below is settled or void, and stands in the three counts.
    settled_to integer not null default 0,
    applied integer not null default 0,
    duplicates integer not null default 0,
    dead integer not null default 0,
    -- What is settled beyond, as JSON.
    pending text not null default '{}',
    -- The counting is over and every promise in it is kept.
    is_complete integer not null default 0,
    primary key (receiver, epoch, source)
) strict, without rowid;

-- What each batch settled, written in the batch's own transaction. Folded into the above every few
-- seconds.
create table ledger_settled (
    id integer primary key,
    receiver text not null,
    epoch integer not null,
    source text not null,
    -- Sequence numbers as JSON.
    settled text not null
) strict;
