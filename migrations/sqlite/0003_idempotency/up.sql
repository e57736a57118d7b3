-- See the migration for PostgreSQL.
CREATE INDEX command_results_keyed ON command_results (at) WHERE outcome IS NOT NULL;
