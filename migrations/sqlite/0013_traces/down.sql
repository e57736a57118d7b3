ALTER TABLE call_events DROP COLUMN trace;
