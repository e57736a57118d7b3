DROP INDEX sweep_runs_by_time;
ALTER TABLE audit_log DROP COLUMN note;
ALTER TABLE nodes DROP COLUMN degraded;
ALTER TABLE nodes DROP COLUMN draining;
ALTER TABLE nodes DROP COLUMN calls;
ALTER TABLE nodes DROP COLUMN sockets;
ALTER TABLE nodes DROP COLUMN sessions;
