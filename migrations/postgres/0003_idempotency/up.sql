-- Outcomes of commands whose user gave them a key, by age: they are forgotten one day. Their ids are UUIDv8, not in the
-- order of time. Other commands have no outcome and are not in here, so they pay nothing for it.
-- Built beside the running nodes, which write to this table all the time. (One that was broken off leaves an index that
-- is not valid and does no harm: REINDEX INDEX CONCURRENTLY makes it good.)
CREATE INDEX CONCURRENTLY IF NOT EXISTS command_results_keyed ON command_results (at) WHERE outcome IS NOT NULL;
