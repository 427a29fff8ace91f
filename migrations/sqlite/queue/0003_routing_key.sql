-- `{source}.{type}` of every event in the row, so that a relay can pass it on unopened. Rows of before, and those
-- that were taken apart, have none and are opened.
alter table batches add column routing_key text;
