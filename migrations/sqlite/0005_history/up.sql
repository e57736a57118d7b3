-- See the migrations for PostgreSQL.
CREATE INDEX participants_by_user ON participants (user_id, invited_at, call_id);
CREATE INDEX calls_by_group ON calls (group_id, created_at, id) WHERE group_id IS NOT NULL;

CREATE TABLE quality_reports (
    call_id         text NOT NULL,
    user_id         text NOT NULL,
    id              blob NOT NULL,
    device_id       text NOT NULL,
    at              integer NOT NULL,
    jitter_ms       real,
    packet_loss_pct real,
    round_trip_ms   real,
    bandwidth_kbps  real,
    fps             real,
    resolution      text,
    codec           text,
    ice_state       text,
    used_turn       integer,
    score           text,
    PRIMARY KEY (call_id, user_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX quality_reports_by_age ON quality_reports (at);
