ALTER TABLE sweep_actions DROP COLUMN recording_id;
DROP TABLE recording_parts;
DROP TABLE recordings;
