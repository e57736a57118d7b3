-- The same tables as in PostgreSQL, where each is explained. Times are microseconds since the Unix epoch.
-- WITHOUT ROWID: the primary key is the table, one write instead of two. Not for events: their rows may be long.
-- Expand only: later migrations add, and remove nothing that the version before still reads.

CREATE TABLE nodes (
    id          text PRIMARY KEY,
    version     text NOT NULL,
    address     text,
    started_at  integer NOT NULL,
    lease_until integer NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE calls (
    id                text PRIMARY KEY,
    owner_node        text NOT NULL,
    epoch             integer NOT NULL,
    seq               integer NOT NULL,
    prev_seq          integer NOT NULL,
    open              integer NOT NULL,
    slot              text,
    status            text NOT NULL,
    call_type         text NOT NULL,
    mode              text NOT NULL,
    group_id          text,
    initiator         text NOT NULL,
    is_group          integer NOT NULL,
    max_participants  integer NOT NULL,
    peak_participants integer NOT NULL,
    created_at        integer NOT NULL,
    started_at        integer,
    ended_at          integer,
    end_reason        text,
    ended_by          text,
    metadata          text
) STRICT, WITHOUT ROWID;

CREATE INDEX calls_open_by_owner ON calls (owner_node) WHERE open;

CREATE TABLE slots (
    slot    text PRIMARY KEY,
    call_id text NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE call_events (
    call_id    text NOT NULL,
    seq        integer NOT NULL,
    at         integer NOT NULL,
    kind       text NOT NULL,
    payload    text NOT NULL,
    node       text NOT NULL,
    epoch      integer NOT NULL,
    command_id blob NOT NULL,
    PRIMARY KEY (call_id, seq)
) STRICT;

CREATE TABLE participants (
    call_id          text NOT NULL,
    user_id          text NOT NULL,
    role             text NOT NULL,
    status           text NOT NULL,
    open             integer NOT NULL,
    device_id        text,
    ringing_devices  text NOT NULL,
    invited_by       text,
    invited_at       integer NOT NULL,
    joined_at        integer,
    left_at          integer,
    leave_reason     text,
    earlier_stays_ms integer NOT NULL,
    PRIMARY KEY (call_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX participants_open_by_user ON participants (user_id) WHERE open;

CREATE TABLE invitations (
    call_id     text NOT NULL,
    user_id     text NOT NULL,
    seq         integer NOT NULL,
    invited_by  text NOT NULL,
    at          integer NOT NULL,
    deadline    integer,
    outcome     text NOT NULL,
    answered_at integer,
    device_id   text,
    PRIMARY KEY (call_id, user_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE command_results (
    command_id blob PRIMARY KEY,
    call_id    text NOT NULL,
    seq        integer NOT NULL,
    kind       text NOT NULL,
    by_user    text,
    outcome    text,
    at         integer NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    id         text PRIMARY KEY,
    name       text,
    metadata   text,
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id  text NOT NULL,
    role     text NOT NULL,
    added_at integer NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
