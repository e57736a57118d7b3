-- Who sweeps, what was asked for by hand, and what every sweep found and did. No index on the tables of calls: the
-- looks go through the partial indexes that hold open calls only.

-- One row per sweeper, and so at most one runner in the cluster: whoever took it by a conditional update, until
-- held_until by this database's clock.
CREATE TABLE sweepers (
    name       text COLLATE "C" PRIMARY KEY,
    holder     text COLLATE "C",
    held_until timestamptz NOT NULL,
    -- When the next scheduled run may begin.
    due_at     timestamptz NOT NULL,
    claimed_at timestamptz
) WITH (fillfactor = 50);

-- A run that somebody asked for at the command line. run: set by the node that takes it.
CREATE TABLE sweep_requests (
    id           uuid PRIMARY KEY,
    sweeper      text COLLATE "C" NOT NULL,
    dry_run      boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    run          uuid
);

-- One row per run; one for consecutive scheduled runs of a node that found nothing (runs says how many).
CREATE TABLE sweep_runs (
    id          uuid PRIMARY KEY,
    sweeper     text COLLATE "C" NOT NULL,
    node        text COLLATE "C" NOT NULL,
    by_hand     boolean NOT NULL,
    dry_run     boolean NOT NULL,
    runs        bigint NOT NULL,
    started_at  timestamptz NOT NULL,
    -- Null: under way, or the node died in the middle.
    finished_at timestamptz,
    found       bigint NOT NULL,
    acted       bigint NOT NULL,
    failed      bigint NOT NULL,
    outcome     text,
    note        text
) WITH (fillfactor = 70);
CREATE INDEX sweep_runs_by_sweeper ON sweep_runs (sweeper, started_at);

-- Line by line what a run did, in the words of the log.
CREATE TABLE sweep_actions (
    run     uuid NOT NULL,
    n       bigint NOT NULL,
    call_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    what    text NOT NULL,
    why     text NOT NULL,
    -- Null: not known, such as since when a node is gone whose row is gone too.
    age_ms  bigint,
    outcome text NOT NULL,
    PRIMARY KEY (run, n)
);
