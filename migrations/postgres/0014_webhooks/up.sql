-- Outgoing webhooks: where the application wants to be told of what happens, and what it is still to be told.
CREATE TABLE webhooks (
    id              uuid PRIMARY KEY,
    url             text NOT NULL,
    -- Names of events, separated by commas; or *.
    events          text NOT NULL,
    description     text,
    enabled         boolean NOT NULL,
    -- Why it is not, when that was not somebody's wish.
    disabled_reason text,
    -- What deliveries are signed with, as the application has it: who reads this table can sign.
    secret          text NOT NULL,
    -- JSON: [{"secret": …, "until": milliseconds}], secrets that still sign beside it.
    old_secrets     text NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

-- One row for each event and webhook that is to hear of it, written in the transaction of the event. Rows outlive their
-- webhook, unseen, until a sweeper deletes them.
--
-- state: due (to be sent at next_at), waiting (behind another of its lane), delivered, expired, dead.
CREATE TABLE webhook_deliveries (
    id          uuid PRIMARY KEY,
    webhook_id  uuid NOT NULL,
    event       text NOT NULL,
    -- Rows of one webhook and lane go in the order of pos, those of the same pos beside each other. A call is a lane.
    lane        text COLLATE "C" NOT NULL,
    pos         bigint NOT NULL,
    call_id     text COLLATE "C",
    -- Whom a ring is for.
    user_id     text COLLATE "C",
    created_at  timestamptz NOT NULL,
    -- From then on it is of no use.
    expires_at  timestamptz,
    -- The data of the body, JSON.
    payload     text NOT NULL,
    state       text NOT NULL,
    -- Not to be sent before. Whoever sends it puts this off first: for so long it is theirs.
    next_at     timestamptz NOT NULL,
    -- How often it was taken to be sent; a later attempt is not written over by an earlier one.
    attempts    integer NOT NULL,
    attempt_at  timestamptz,
    node        text,
    last_status integer,
    last_error  text,
    last_answer text,
    settled_at  timestamptz
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE state = 'due';
CREATE INDEX webhook_deliveries_lane ON webhook_deliveries (webhook_id, lane, pos) WHERE state IN ('due', 'waiting');
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (id) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;

CALL carillon_protect('webhooks');
CALL carillon_protect('webhook_deliveries');
