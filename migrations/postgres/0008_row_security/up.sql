-- Row-level security: a second wall behind the conditions of the statements. Who has said nothing sees nothing.
--
-- Who reads or writes says so in the session or the transaction:
--   carillon.scope = 'node'   the machinery: commits, leases, sweepers, takeover, the service API. Sees and writes all.
--   carillon.scope = 'admin'  an administrator looking at calls. Sees, and writes nothing.
--   carillon.user = 'alice'   a user looking. Sees what is theirs, and writes nothing.
-- FORCE: the owner of the tables is held to it too. Superusers and roles with BYPASSRLS are not.
--
-- A NEW TABLE gets its policies in the migration that makes it, by one line:
--   CALL carillon_protect('recordings', 'carillon_sees_call(call_id)');   users see those of calls that they may see
--   CALL carillon_protect('stream_keys');                                 the machinery alone
-- and then all of it is granted to the application's role by `carillon migrate`. A test fails for a table without.
-- A condition for users is put to every row that a user's statement comes by: let it look up by key or compare a column
-- with carillon_user(), never read another table from end to end. Migrations that change rows run as the node.

CREATE FUNCTION carillon_user() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    -- What was set for a transaction that is over is left as ''.
    AS $$ SELECT nullif(current_setting('carillon.user', true), '') $$;

CREATE FUNCTION carillon_is_node() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT current_setting('carillon.scope', true) = 'node' $$;

CREATE FUNCTION carillon_reads_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT current_setting('carillon.scope', true) IN ('node', 'admin') $$;

-- A call is seen by who has or had a part in it, and by the members of its group. These are functions, and not conditions
-- in the policies, because the policy of participants may not name a table whose policy names participants; and because a
-- subquery in a policy is made ready in every statement of the machinery, which never comes to it: a fifth of the cost of a
-- commit. In PL/pgSQL, which keeps its plans; each looks by key, and is itself subject to the policies.
CREATE FUNCTION carillon_sees_call(call text, of_group text) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    PERFORM FROM participants p WHERE p.call_id = call AND p.user_id = carillon_user();
    IF FOUND THEN
        RETURN true;
    END IF;
    IF of_group IS NULL THEN
        RETURN false;
    END IF;
    PERFORM FROM group_members m WHERE m.group_id = of_group AND m.user_id = carillon_user();
    RETURN FOUND;
END $$;

-- The same where the call's group is not at hand.
CREATE FUNCTION carillon_sees_call(call text) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    PERFORM FROM participants p WHERE p.call_id = call AND p.user_id = carillon_user();
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM FROM calls c WHERE c.id = call;
    RETURN FOUND;
END $$;

-- Nothing of the table is seen or written but by the node; and users see rows for which the condition holds, if one is
-- given. One policy for all who read, so that it is tried in this order: the machinery never comes to the condition.
CREATE PROCEDURE carillon_protect(of_table regclass, users_see text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    seen text := coalesce('carillon_reads_all() OR (' || users_see || ')', 'carillon_is_node()');
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', of_table);
    EXECUTE format('CREATE POLICY sees ON %s FOR SELECT USING (%s)', of_table, seen);
    EXECUTE format('CREATE POLICY adds ON %s FOR INSERT WITH CHECK (carillon_is_node())', of_table);
    EXECUTE format('CREATE POLICY changes ON %s FOR UPDATE USING (carillon_is_node())', of_table);
    EXECUTE format('CREATE POLICY removes ON %s FOR DELETE USING (carillon_is_node())', of_table);
END $$;

CALL carillon_protect('group_members', 'user_id = carillon_user()');
CALL carillon_protect('groups',
    '(SELECT m.role FROM group_members m WHERE m.group_id = groups.id AND m.user_id = carillon_user()) IS NOT NULL');
CALL carillon_protect('calls', 'carillon_sees_call(id, group_id)');
-- One's own parts first: nothing else is looked up for them, and the functions above look at no others.
CALL carillon_protect('participants', 'user_id = carillon_user() OR carillon_sees_call(call_id)');
CALL carillon_protect('invitations', 'user_id = carillon_user() OR carillon_sees_call(call_id)');
CALL carillon_protect('call_events', 'carillon_sees_call(call_id)');
CALL carillon_protect('quality_reports', 'carillon_sees_call(call_id)');
CALL carillon_protect('command_results', 'by_user = carillon_user()');
-- No people's data, and read beside a call, to say whether its owner lives.
CALL carillon_protect('nodes', 'carillon_user() IS NOT NULL');

-- The machinery's alone. The slot of a call of two names both; what was done to whom is nobody's to read but by the
-- service API.
CALL carillon_protect('slots');
CALL carillon_protect('service_keys');
CALL carillon_protect('sweepers');
CALL carillon_protect('sweep_requests');
CALL carillon_protect('sweep_runs');
CALL carillon_protect('sweep_actions');
CALL carillon_protect('audit_log');
-- Rows of it are only ever added, whoever asks.
DROP POLICY changes ON audit_log;
DROP POLICY removes ON audit_log;
