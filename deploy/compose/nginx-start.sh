#!/bin/bash
# Fills in the template and serves. Without a certificate of your own in the volume it makes one for localhost.
set -euo pipefail
mkdir -p "$CACHE" "$RUN" "$(dirname "$CERTIFICATE")"
chown nginx "$CACHE" "$RUN"
if [ ! -s "$CERTIFICATE" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$CERTIFICATE_KEY" -out "$CERTIFICATE"
fi
# shellcheck disable=SC2016 # envsubst wants the names
envsubst '$HTTP_PORT $HTTPS_PORT $HTTPS_SUFFIX $CERTIFICATE $CERTIFICATE_KEY $ORIGIN_US_EAST $ORIGIN_US_WEST
  $ORIGIN_EU_WEST $STATIC $CACHE $RUN' </nginx.conf.template >"$RUN/nginx.conf"
exec nginx -c "$RUN/nginx.conf" -g 'daemon off;'
