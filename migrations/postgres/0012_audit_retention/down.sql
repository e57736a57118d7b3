DROP POLICY forgets ON audit_log;
