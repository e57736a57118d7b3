-- Ids are compared as bytes (COLLATE "C"): cheaper than a language's rules, and the same on every machine.
-- Expand only: later migrations add, and remove nothing that the version before still reads.

-- Processes of the cluster. A node that restarts is another node; a lease is good while lease_until is ahead of
-- the database's clock.
CREATE TABLE nodes (
    id          text COLLATE "C" PRIMARY KEY,
    version     text NOT NULL,
    address     text,
    started_at  timestamptz NOT NULL,
    lease_until timestamptz NOT NULL
);

-- One row per call: where it stands, and who may write it (owner_node, epoch, seq).
CREATE TABLE calls (
    id                text COLLATE "C" PRIMARY KEY,
    owner_node        text COLLATE "C" NOT NULL,
    epoch             bigint NOT NULL,
    seq               bigint NOT NULL,
    -- The seq that the newest commit was decided on: what makes the commit conditional.
    prev_seq          bigint NOT NULL,
    open              boolean NOT NULL,
    -- The slot the call holds while it is open.
    slot              text COLLATE "C",
    status            text NOT NULL,
    call_type         text NOT NULL,
    mode              text NOT NULL,
    group_id          text COLLATE "C",
    initiator         text COLLATE "C" NOT NULL,
    is_group          boolean NOT NULL,
    max_participants  integer NOT NULL,
    peak_participants integer NOT NULL,
    created_at        timestamptz NOT NULL,
    started_at        timestamptz,
    ended_at          timestamptz,
    end_reason        text,
    ended_by          text COLLATE "C",
    metadata          text
) WITH (fillfactor = 70); -- a call is updated a few times soon after it began: room for that on its page

-- The takeover sweeper looks for open calls by owner. Holds open calls only, so it stays small.
CREATE INDEX calls_open_by_owner ON calls (owner_node) WHERE open;

-- At most one open call in a group, or between two people. Taken with the call's first event, gone with its last.
CREATE TABLE slots (
    slot    text COLLATE "C" PRIMARY KEY,
    call_id text COLLATE "C" NOT NULL
);

-- The truth: what happened to each call, in order. Everything else about calls derives from it.
CREATE TABLE call_events (
    call_id    text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    payload    text NOT NULL,
    node       text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    command_id uuid NOT NULL,
    PRIMARY KEY (call_id, seq)
);

-- One row per user of a call, over all their devices.
CREATE TABLE participants (
    call_id          text COLLATE "C" NOT NULL,
    user_id          text COLLATE "C" NOT NULL,
    role             text NOT NULL,
    status           text NOT NULL,
    -- Rung or engaged, in a call that has not ended.
    open             boolean NOT NULL,
    device_id        text COLLATE "C",
    ringing_devices  text NOT NULL,
    invited_by       text COLLATE "C",
    invited_at       timestamptz NOT NULL,
    joined_at        timestamptz,
    left_at          timestamptz,
    leave_reason     text,
    earlier_stays_ms bigint NOT NULL,
    PRIMARY KEY (call_id, user_id)
) WITH (fillfactor = 70);

-- "Which calls is this user in?", asked at every start (busy) and every hello. Holds open parts only.
CREATE INDEX participants_open_by_user ON participants (user_id) WHERE open;

-- One row per time that a user was rung: seq is that of the event that rang them.
CREATE TABLE invitations (
    call_id     text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    invited_by  text COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,
    deadline    timestamptz,
    outcome     text NOT NULL,
    answered_at timestamptz,
    device_id   text COLLATE "C",
    PRIMARY KEY (call_id, user_id, seq)
) WITH (fillfactor = 70);

-- What was done for each command: settles commits of unknown outcome. Ids are UUIDv7, so old rows are a range.
CREATE TABLE command_results (
    command_id uuid PRIMARY KEY,
    call_id    text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    kind       text NOT NULL,
    by_user    text COLLATE "C",
    outcome    text,
    at         timestamptz NOT NULL
);

-- Groups whose members may call each other, managed by the application.
CREATE TABLE groups (
    id         text COLLATE "C" PRIMARY KEY,
    name       text,
    metadata   text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE group_members (
    group_id text COLLATE "C" NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id  text COLLATE "C" NOT NULL,
    role     text NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
