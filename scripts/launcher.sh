#!/bin/sh
# Runs the bundle on the runtime beside it, wherever this folder is and whoever calls.
self=$(readlink -f "$0")
here=${self%/*}
# A signal must not open a debugger: it would show the private key to whoever is on this machine.
# The other settings are for memory; docs/performance.md says what each is worth.
# glibc raises this threshold when the first large block is freed, and then keeps what the start has freed.
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-131072}"
exec "$here/lib/node" --disable-sigusr1 --disable-warning=DEP0169 --max-semi-space-size=1 --heap-growing-percent=30 "$here/lib/iot-device-agent.cjs" "$@"
