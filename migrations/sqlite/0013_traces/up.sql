-- As in PostgreSQL.
ALTER TABLE call_events ADD COLUMN trace blob;
