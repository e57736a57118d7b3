-- The same table as in PostgreSQL, where it is explained. Times are microseconds since the Unix epoch.
CREATE TABLE service_keys (
    id           blob PRIMARY KEY,
    name         text NOT NULL,
    hash         text NOT NULL UNIQUE,
    created_at   integer NOT NULL,
    expires_at   integer,
    revoked_at   integer,
    last_used_at integer
) STRICT, WITHOUT ROWID;
