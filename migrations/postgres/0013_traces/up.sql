-- The trace of the command (or timer, or sweep) that an event came of. NULL: written by a node that knew none.
ALTER TABLE call_events ADD COLUMN trace uuid;
