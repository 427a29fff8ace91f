-- The row that a worker of this file began with, and how many workers have ended without a word since one first did: a row
-- that kills whoever takes it is found by that. One row at most.
create table suspect (
    id integer primary key check (id = 1),
    batch integer not null,
    died integer not null
) strict;
