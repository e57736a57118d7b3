-- The calls of a group, newest first. Its columns never change, and calls between two people pay nothing for it. A
-- migration of its own: an index that is built beside the running nodes must be the only statement.
CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_group ON calls (group_id, created_at, id) WHERE group_id IS NOT NULL;
