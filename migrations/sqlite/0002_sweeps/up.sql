-- The same tables as in PostgreSQL, where each is explained. Times are microseconds since the Unix epoch.

CREATE TABLE sweepers (
    name       text PRIMARY KEY,
    holder     text,
    held_until integer NOT NULL,
    due_at     integer NOT NULL,
    claimed_at integer
) STRICT, WITHOUT ROWID;

CREATE TABLE sweep_requests (
    id           blob PRIMARY KEY,
    sweeper      text NOT NULL,
    dry_run      integer NOT NULL,
    requested_at integer NOT NULL,
    run          blob
) STRICT, WITHOUT ROWID;

CREATE TABLE sweep_runs (
    id          blob PRIMARY KEY,
    sweeper     text NOT NULL,
    node        text NOT NULL,
    by_hand     integer NOT NULL,
    dry_run     integer NOT NULL,
    runs        integer NOT NULL,
    started_at  integer NOT NULL,
    finished_at integer,
    found       integer NOT NULL,
    acted       integer NOT NULL,
    failed      integer NOT NULL,
    outcome     text,
    note        text
) STRICT, WITHOUT ROWID;
CREATE INDEX sweep_runs_by_sweeper ON sweep_runs (sweeper, started_at);

CREATE TABLE sweep_actions (
    run     blob NOT NULL,
    n       integer NOT NULL,
    call_id text NOT NULL,
    user_id text,
    what    text NOT NULL,
    why     text NOT NULL,
    age_ms  integer,
    outcome text NOT NULL,
    PRIMARY KEY (run, n)
) STRICT, WITHOUT ROWID;
