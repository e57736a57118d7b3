-- Webhooks of LiveKit that were taken in, by the event's id: the same event may come again, and to any node.
CREATE TABLE livekit_events (
    id       text COLLATE "C" PRIMARY KEY,
    taken_at timestamptz NOT NULL
);
CALL carillon_protect('livekit_events');
-- For forgetting the old ones.
CREATE INDEX livekit_events_by_time ON livekit_events (taken_at);
