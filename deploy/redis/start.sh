#!/bin/sh
# Redis for Carillon: a user of its own with a password, and nothing on disk, for Redis is never the truth: losing all of it
# loses nothing. Wants REDIS_PASSWORD (no blanks in it), and a folder in memory for its configuration, which holds the
# password: on the command line everybody on the machine could read it.
set -eu
: "${REDIS_PASSWORD:?}"
umask 077
configuration=${REDIS_CONFIGURATION:-/tmp/redis.conf}

cat >"$configuration" <<CONF
port ${REDIS_PORT:-6379}
save ""
appendonly no
# Counters of rate limits, which expire by themselves; more than this is no counters of ours.
maxmemory 128mb
maxmemory-policy volatile-ttl
# A node that reads too slowly is cut off, subscribes again and compares with the database.
client-output-buffer-limit pubsub 32mb 8mb 60
user default off
user carillon on >$REDIS_PASSWORD ~* &* +@all -@admin -@dangerous
CONF
unset REDIS_PASSWORD
exec redis-server "$configuration"
