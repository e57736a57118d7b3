-- The same table as in PostgreSQL, where it is explained. Times are microseconds since the Unix epoch.
CREATE TABLE livekit_events (
    id       text PRIMARY KEY,
    taken_at integer NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX livekit_events_by_time ON livekit_events (taken_at);
