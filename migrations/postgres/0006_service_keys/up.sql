-- Keys of the application's backends. Never the key itself: what is stored is useless to whoever reads it.
CREATE TABLE service_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    -- SHA-256 of the key, in hex.
    hash         text COLLATE "C" NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    -- Null: never.
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- To the minute, at most.
    last_used_at timestamptz
);
