#!/bin/sh
# coturn for compose.yaml: the shipped configuration (deploy/coturn/turnserver.conf) with what has to be set. The secret goes
# into the file and not on the command line, where it would be added to the one that stands in the file: coturn takes both.
#
# Wants TURN_SECRET and PUBLIC_IP.
set -eu
: "${TURN_SECRET:?}" "${PUBLIC_IP:?}"
umask 077
shipped=${TURN_SHIPPED:-/etc/coturn/turnserver.conf}
configuration=${TURN_CONFIGURATION:-/tmp/turnserver.conf}

sed -e "s|^static-auth-secret=.*|static-auth-secret=$TURN_SECRET|" \
  -e "s|^realm=.*|realm=${TURN_REALM:-carillon}|" \
  -e "s|^listening-port=.*|listening-port=${TURN_PORT:-3478}|" \
  -e "s|^\(min-port\)=.*|\1=49160|" -e "s|^\(max-port\)=.*|\1=49359|" -e "s|^total-quota=.*|total-quota=96|" \
  -e "\$aexternal-ip=$PUBLIC_IP" -e "\$apidfile=/tmp/turnserver.pid" -e "\$auserdb=/tmp/turndb" "$shipped" >"$configuration"
if grep -q '^[^#]*CHANGE-ME' "$configuration"; then
  echo "coturn.sh: something in $shipped still says CHANGE-ME" >&2
  exit 1
fi
unset TURN_SECRET
exec turnserver -c "$configuration"
