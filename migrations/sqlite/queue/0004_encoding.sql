-- How the payload is stored: `lz4`, a frame that any LZ4 tool reads, or null, JSON as it is. `events` and `bytes` are of
-- the JSON either way: they bound what is taken into memory and what the queue may hold.
alter table batches add column encoding text;
