#!/bin/sh
# Two roles for Carillon, made once with the database (PostgreSQL's image runs this from /docker-entrypoint-initdb.d; for a
# server of your own run it, or do the same by hand):
#
#   carillon_owner  makes and owns the tables: `carillon migrate`, and nothing else
#   carillon_app    reads and writes rows: the nodes. It can neither change nor drop a table, nor switch off a policy on one
#
# Wants POSTGRES_USER (a superuser), POSTGRES_DB, POSTGRES_OWNER_PASSWORD and POSTGRES_APP_PASSWORD.
set -eu
: "${POSTGRES_OWNER_PASSWORD:?}" "${POSTGRES_APP_PASSWORD:?}"

# The passwords go through the environment, not the command line, which everybody on the machine can read.
psql -q -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv owner_password POSTGRES_OWNER_PASSWORD
\getenv app_password POSTGRES_APP_PASSWORD
CREATE ROLE carillon_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE carillon_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO carillon_owner;
GRANT USAGE ON SCHEMA public TO carillon_app;
ALTER DEFAULT PRIVILEGES FOR ROLE carillon_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO carillon_app;
ALTER DEFAULT PRIVILEGES FOR ROLE carillon_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO carillon_app;
SQL
