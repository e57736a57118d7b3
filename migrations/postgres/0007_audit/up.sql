-- Every privileged act: who, what, on what, when, and what came of it. Rows are only ever added.
CREATE TABLE audit_log (
    -- In the order of time: made of it. What is listed is listed by it.
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL,
    -- service_key, user or command_line.
    actor_kind  text NOT NULL,
    actor       text COLLATE "C" NOT NULL,
    -- The name of the key at that time.
    actor_name  text,
    action      text COLLATE "C" NOT NULL,
    target_kind text NOT NULL,
    target      text NOT NULL,
    -- Whom it was about.
    user_id     text,
    outcome     text NOT NULL,
    request_id  text,
    node        text
);
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);
