#!/bin/sh
# Runs the bundle on the runtime beside it, wherever this folder is and whoever calls.
here=$(dirname "$(readlink -f "$0")")
exec "$here/lib/node" --disable-warning=DEP0169 --max-semi-space-size=1 --optimize-for-size "$here/lib/iot-device-agent.cjs" "$@"
