# What the figures share: a PostgreSQL, a Redis and nodes of their own, on free ports of the loopback.
#
# To be sourced, by a script that has set FIGURE (its name) and LEASE, and has CARILLON (the program) set before it starts
# a node. Everything is ended by the process ids that were started here, and nothing else, however the script ends.
# shellcheck shell=bash

JWT_SECRET=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
folder=$(mktemp -d "${TMPDIR:-/tmp}/carillon-$FIGURE.XXXXXX")
# By node: the program of its next start, where that is not CARILLON.
declare -A pids=() ports=() programs=()

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
fail() {
  say "failed: $*"
  exit 1
}
now_ms() { date +%s%3N; }

finish() {
  local code=$? name
  for name in "${!pids[@]}"; do
    case $name in
      postgres) kill -INT "${pids[$name]}" 2>/dev/null ;;
      node-*) kill -KILL "${pids[$name]}" 2>/dev/null ;;
      *) kill -TERM "${pids[$name]}" 2>/dev/null ;;
    esac
  done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null; done
  if [ -n "${KEEP:-}" ]; then say "kept: $folder"; else rm -rf "$folder"; fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

wait_for() { # SECONDS COMMAND…
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

is_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    if ! is_listening "$port"; then
      printf '%s\n' "$port"
      return
    fi
  done
}

# ---- PostgreSQL and Redis -------------------------------------------------------------------------------------------

postgres_program() {
  command -v "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" | sort -V | tail -1
}

# PostgreSQL refuses root: then it runs as the user that its package made, or nobody.
as_postgres() {
  local account=postgres
  if [ "$(id -u)" -ne 0 ]; then
    exec "$@"
  fi
  id postgres >/dev/null 2>&1 || account=nobody
  exec setpriv --reuid "$account" --regid "$(id -g "$account")" --clear-groups "$@"
}

start_postgres() {
  local data=$folder/postgres/data initdb server
  initdb=$(postgres_program initdb) && server=$(postgres_program postgres) && [ -n "$initdb" ] && [ -n "$server" ] ||
    fail "PostgreSQL is not installed: tests/run tools"
  mkdir "$folder/postgres"
  if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$folder"
    chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$folder/postgres"
  fi
  (
    cd "$folder/postgres" &&
      as_postgres "$initdb" --username=carillon --auth=trust --encoding=UTF8 --locale=C --no-instructions --pgdata "$data"
  ) >"$folder/initdb.log" 2>&1 || fail "initdb: $(tail -3 "$folder/initdb.log")"
  ports[postgres]=$(free_port)
  (
    cd "$folder/postgres" &&
      as_postgres "$server" -D "$data" -c port="${ports[postgres]}" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=200 -c shared_buffers=128MB -c dynamic_shared_memory_type=mmap
  ) >"$folder/postgres.log" 2>&1 &
  pids[postgres]=$!
  wait_for 30 is_listening "${ports[postgres]}" || fail "PostgreSQL: $(tail -3 "$folder/postgres.log")"
}

start_redis() {
  ports[redis]=$(free_port)
  redis-server --bind 127.0.0.1 --port "${ports[redis]}" --save '' --appendonly no --dir "$folder" \
    >"$folder/redis.log" 2>&1 &
  pids[redis]=$!
  wait_for 10 is_listening "${ports[redis]}" || fail "Redis: $(tail -3 "$folder/redis.log")"
}

# ---- nodes ----------------------------------------------------------------------------------------------------------

is_ready() { # NODE
  local status=
  { exec 3<>"/dev/tcp/127.0.0.1/${ports[$1]}"; } 2>/dev/null || return 1
  printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  IFS= read -r -t 2 status <&3
  exec 3>&- 3<&-
  [[ $status == *' 200 '* ]]
}

start_node() { # NODE
  env -u LIVEKIT_URL CARILLON_LISTEN="127.0.0.1:${ports[$1]}" CARILLON_JWT_SECRET="$JWT_SECRET" \
    DATABASE_URL="postgres://carillon@127.0.0.1:${ports[postgres]}/postgres" \
    REDIS_URL="redis://127.0.0.1:${ports[redis]}" CARILLON_CLUSTER="$FIGURE" CARILLON_NODE_LEASE_SECS="$LEASE" \
    CARILLON_RATE_LIMITS=off CARILLON_LOG_FORMAT=json RUST_LOG=info \
    "${programs[$1]:-$CARILLON}" serve >>"$folder/$1.log" 2>&1 &
  pids[$1]=$!
  wait_for 60 is_ready "$1" || fail "$1 is not ready: $(tail -3 "$folder/$1.log")"
}

kill_node() { # NODE
  kill -KILL "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null
  unset "pids[$1]"
}

# The program under test, built unless one is named.
build() {
  if [ -z "${CARILLON:-}" ]; then
    cargo build --release || exit 1
    CARILLON=$PWD/target/release/carillon
  fi
}
