-- The same tables as in PostgreSQL, where they are explained. Times are microseconds since the Unix epoch.
CREATE TABLE recordings (
    id             text PRIMARY KEY,
    call_id        text NOT NULL,
    created_by     text NOT NULL,
    created_at     integer NOT NULL,
    layout         text NOT NULL,
    resolution     text NOT NULL,
    audio_only     integer NOT NULL,
    format         text NOT NULL,
    retention_days integer NOT NULL,
    version        integer NOT NULL,
    status         text NOT NULL,
    attempts       integer NOT NULL,
    attempt_at     integer,
    egress_id      text,
    stop_at        integer,
    started_at     integer,
    ended_at       integer,
    file           text,
    bytes          integer,
    duration_ms    integer,
    reason         text,
    expires_at     integer,
    legal_hold     integer NOT NULL,
    public_since   integer,
    password_hash  text,
    purge_since    integer,
    purge_failures integer NOT NULL,
    deleted_at     integer,
    file_gone_at   integer,
    told           integer NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX recordings_by_call ON recordings (call_id, created_at);
CREATE INDEX recordings_unsettled ON recordings (id)
    WHERE status IN ('starting', 'recording', 'processing') OR NOT told;
CREATE INDEX recordings_by_expiry ON recordings (expires_at, id)
    WHERE file_gone_at IS NULL AND status IN ('ready', 'failed') AND NOT legal_hold;
CREATE INDEX recordings_deleted ON recordings (id) WHERE file_gone_at IS NULL AND status = 'deleted';

CREATE TABLE recording_parts (
    user_id      text NOT NULL,
    created_at   integer NOT NULL,
    recording_id text NOT NULL,
    PRIMARY KEY (user_id, created_at, recording_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX recording_parts_by_recording ON recording_parts (recording_id, user_id);

ALTER TABLE sweep_actions ADD COLUMN recording_id text;
