-- Recordings of calls: a row for each, from the wish to record to long after its file is gone. Begun, and told to stop,
-- in the transaction of the call's event; else written by whoever learns something, over the version it has read.
CREATE TABLE recordings (
    id             text COLLATE "C" PRIMARY KEY,
    call_id        text COLLATE "C" NOT NULL,
    created_by     text COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL,
    layout         text NOT NULL,
    resolution     text NOT NULL,
    audio_only     boolean NOT NULL,
    format         text NOT NULL,
    retention_days integer NOT NULL,
    version        bigint NOT NULL,
    status         text NOT NULL,
    -- How often egress was asked for, and when last.
    attempts       integer NOT NULL,
    attempt_at     timestamptz,
    egress_id      text,
    -- Since when it is to stop.
    stop_at        timestamptz,
    started_at     timestamptz,
    ended_at       timestamptz,
    -- Within the store of files.
    file           text,
    bytes          bigint,
    duration_ms    bigint,
    reason         text,
    expires_at     timestamptz,
    legal_hold     boolean NOT NULL,
    public_since   timestamptz,
    -- Argon2id, as PHC writes it.
    password_hash  text,
    -- Since when a sweeper deletes its file, and how often that failed.
    purge_since    timestamptz,
    purge_failures integer NOT NULL,
    deleted_at     timestamptz,
    file_gone_at   timestamptz,
    -- The call, or its people, know where it stands.
    told           boolean NOT NULL
);

CREATE INDEX recordings_by_call ON recordings (call_id, created_at);
-- What is to be seen after: as many rows as recordings run.
CREATE INDEX recordings_unsettled ON recordings (id)
    WHERE status IN ('starting', 'recording', 'processing') OR NOT told;
-- Whose files are to go, by when.
CREATE INDEX recordings_by_expiry ON recordings (expires_at, id)
    WHERE file_gone_at IS NULL AND status IN ('ready', 'failed') AND NOT legal_hold;
CREATE INDEX recordings_deleted ON recordings (id) WHERE file_gone_at IS NULL AND status = 'deleted';

-- Who may see a recording: who has been in its call, before, during or after. Written with the call's events, so that a
-- user's list is one walk along its key.
CREATE TABLE recording_parts (
    user_id      text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    recording_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, created_at, recording_id)
);

CREATE UNIQUE INDEX recording_parts_by_recording ON recording_parts (recording_id, user_id);

CALL carillon_protect('recording_parts', 'user_id = carillon_user()');
CALL carillon_protect('recordings',
    '(SELECT y.user_id FROM recording_parts y WHERE y.recording_id = recordings.id AND y.user_id = carillon_user()) IS NOT NULL');

-- Which recording a sweeper's action was about.
ALTER TABLE sweep_actions ADD COLUMN recording_id text;
