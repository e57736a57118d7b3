# Calls that `carillon load --mode hold` holds while nodes come and go. To be sourced after machinery.sh, by a script that
# has set CALLS, EVERY and IDLE.
# shellcheck shell=bash disable=SC2034

# SIGTERM, and sets `took` to the milliseconds until it was gone.
drain_node() { # NODE
  local start
  start=$(now_ms)
  kill -TERM "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null
  took=$(($(now_ms) - start))
  unset "pids[$1]"
  say "$1 was gone after $took ms"
}

# ---- the load -------------------------------------------------------------------------------------------------------

has_said() { grep -q "$1" "$folder/load.log"; }
load_runs() { kill -0 "${pids[load]}" 2>/dev/null; }

phase() { # NUMBER
  kill -USR1 "${pids[load]}" || fail "the load is gone: $(tail -3 "$folder/load.log")"
  wait_for 10 has_said "^phase $1 since" || fail "the load does not begin phase $1"
  sleep 1
}

# Starts nodes 1 to NODES, and sets `targets` for the load.
start_nodes() { # NODES
  local n
  targets=
  for n in $(seq "$1"); do
    ports[node-$n]=$(free_port)
    start_node "node-$n"
    targets+=${targets:+,}ws://127.0.0.1:${ports[node-$n]}
  done
}

# Sets the calls up, and waits until they are held.
start_load() {
  CARILLON_JWT_SECRET=$JWT_SECRET "$CARILLON" load --mode hold --target "$targets" --pairs "$CALLS" --every "$EVERY" \
    --idle "$IDLE" --duration 1h --json >"$folder/report.json" 2>"$folder/load.log" &
  pids[load]=$!
  wait_for 180 set_up && load_runs || fail "the calls are not set up: $(tail -3 "$folder/load.log")"
}
set_up() { has_said '^holding' || ! load_runs; }

# Lets the load end its calls; sets `code` to its exit code. Its report is in report.json.
end_load() {
  say "ending the calls"
  kill -INT "${pids[load]}"
  wait "${pids[load]}"
  code=$?
  unset "pids[load]"
  [ -s "$folder/report.json" ] || fail "no report: $(tail -3 "$folder/load.log")"
}
