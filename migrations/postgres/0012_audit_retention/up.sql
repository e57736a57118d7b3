-- The audit log is kept for a time that is set (a day at least), then forgotten by a sweeper. Nobody changes it, and what
-- is younger than a day nobody removes, the machinery included.
CREATE POLICY forgets ON audit_log FOR DELETE USING (carillon_is_node() AND at < now() - interval '1 day');
