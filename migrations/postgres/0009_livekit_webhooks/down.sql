DROP TABLE livekit_events;
