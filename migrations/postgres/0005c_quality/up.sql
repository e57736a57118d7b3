-- What clients report of the quality of their media. Read by call; id is a UUIDv7, or made of an idempotency key.
CREATE TABLE quality_reports (
    call_id         text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    id              uuid NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    at              timestamptz NOT NULL,
    jitter_ms       double precision,
    packet_loss_pct double precision,
    round_trip_ms   double precision,
    bandwidth_kbps  double precision,
    fps             double precision,
    resolution      text,
    codec           text,
    ice_state       text,
    used_turn       boolean,
    -- Null: nothing that could be scored was reported.
    score           text,
    PRIMARY KEY (call_id, user_id, id)
);

-- They are forgotten by age. Rows lie in the order of time, so that an index of ranges of pages finds them.
CREATE INDEX quality_reports_by_age ON quality_reports USING brin (at);
