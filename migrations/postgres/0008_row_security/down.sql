DO $$
DECLARE
    policy record;
BEGIN
    FOR policy IN SELECT tablename, policyname FROM pg_policies
        WHERE schemaname = current_schema() AND policyname IN ('sees', 'adds', 'changes', 'removes')
    LOOP
        EXECUTE format('DROP POLICY %I ON %I', policy.policyname, policy.tablename);
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', policy.tablename);
    END LOOP;
END $$;
DROP PROCEDURE carillon_protect;
DROP FUNCTION carillon_sees_call(text), carillon_sees_call(text, text), carillon_reads_all, carillon_is_node, carillon_user;
