-- The same table as in PostgreSQL, where it is explained. Times are microseconds since the Unix epoch.
CREATE TABLE audit_log (
    id          blob PRIMARY KEY,
    at          integer NOT NULL,
    actor_kind  text NOT NULL,
    actor       text NOT NULL,
    actor_name  text,
    action      text NOT NULL,
    target_kind text NOT NULL,
    target      text NOT NULL,
    user_id     text,
    outcome     text NOT NULL,
    request_id  text,
    node        text
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);
