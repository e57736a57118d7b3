-- A user's history, newest first. Its columns change only when somebody is rung again, so that the many updates of a
-- participant cost nothing here. Built beside the running nodes (see 0003). One that was
-- broken off is not valid, and histories read the whole table until REINDEX INDEX CONCURRENTLY has made it good.
CREATE INDEX CONCURRENTLY IF NOT EXISTS participants_by_user ON participants (user_id, invited_at, call_id);
