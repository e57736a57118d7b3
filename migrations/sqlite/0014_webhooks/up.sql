-- The same tables as in PostgreSQL, where they are explained. Times are microseconds since the Unix epoch.
CREATE TABLE webhooks (
    id              blob PRIMARY KEY,
    url             text NOT NULL,
    events          text NOT NULL,
    description     text,
    enabled         integer NOT NULL,
    disabled_reason text,
    secret          text NOT NULL,
    old_secrets     text NOT NULL,
    created_at      integer NOT NULL,
    updated_at      integer NOT NULL
) STRICT;

CREATE TABLE webhook_deliveries (
    id          blob PRIMARY KEY,
    webhook_id  blob NOT NULL,
    event       text NOT NULL,
    lane        text NOT NULL,
    pos         integer NOT NULL,
    call_id     text,
    user_id     text,
    created_at  integer NOT NULL,
    expires_at  integer,
    payload     text NOT NULL,
    state       text NOT NULL,
    next_at     integer NOT NULL,
    attempts    integer NOT NULL,
    attempt_at  integer,
    node        text,
    last_status integer,
    last_error  text,
    last_answer text,
    settled_at  integer
) STRICT;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE state = 'due';
CREATE INDEX webhook_deliveries_lane ON webhook_deliveries (webhook_id, lane, pos) WHERE state IN ('due', 'waiting');
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (id) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;
