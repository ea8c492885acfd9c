#!/bin/bash
# Fills in the template and serves. The only name is `operator`; the password never stands on a command line.
set -euo pipefail
mkdir -p "$RUN"
printf 'operator:%s\n' "$(openssl passwd -apr1 -stdin <<<"$DASHBOARD_PASSWORD")" >"$RUN/people"
# shellcheck disable=SC2016 # envsubst wants the names
envsubst '$DOOR_PORT $DASHBOARD $DASHBOARD_PROXY_SECRET $RUN' </door.conf.template >"$RUN/nginx.conf"
chmod 644 "$RUN/people"
chmod 600 "$RUN/nginx.conf"
exec nginx -c "$RUN/nginx.conf" -g 'daemon off;'
