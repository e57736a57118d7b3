-- As in PostgreSQL.
ALTER TABLE nodes ADD COLUMN sessions integer;
ALTER TABLE nodes ADD COLUMN sockets integer;
ALTER TABLE nodes ADD COLUMN calls integer;
ALTER TABLE nodes ADD COLUMN draining integer;
ALTER TABLE nodes ADD COLUMN degraded text;
ALTER TABLE audit_log ADD COLUMN note text;
CREATE INDEX sweep_runs_by_time ON sweep_runs (started_at, id);
