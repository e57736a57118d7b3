-- What a node says of itself with each renewal of its lease, for the operator console. Null: a node of an older version.
ALTER TABLE nodes ADD COLUMN sessions bigint;
ALTER TABLE nodes ADD COLUMN sockets bigint;
ALTER TABLE nodes ADD COLUMN calls bigint;
ALTER TABLE nodes ADD COLUMN draining boolean;
-- What it does without, by commas; empty: nothing.
ALTER TABLE nodes ADD COLUMN degraded text;

-- What the actor said of an act, or what there is to say of its outcome.
ALTER TABLE audit_log ADD COLUMN note text;

-- The runs of all sweepers are listed by time.
CREATE INDEX sweep_runs_by_time ON sweep_runs (started_at, id);
