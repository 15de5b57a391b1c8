#!/bin/sh
# Runs the bundle on the runtime beside it, wherever this folder is and whoever calls.
self=$(readlink -f "$0")
here=${self%/*}
# A signal must not open a debugger: it would show the private key to whoever is on this machine.
# The other settings are for memory; docs/performance.md says what each is worth.
# glibc raises this threshold when the first large block is freed, and then keeps what the start has freed.
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-131072}"
# Stripping a system of its identity must work where the runtime does not: in an image of another processor.
if [ "${1:-}" = seal ]; then
  shift
  exec "$here/seal" "$@"
fi
node=$here/lib/node
if [ ! -x "$node" ]; then
  node=$(command -v node || command -v nodejs) || {
    echo "iot-device-agent: there is no Node.js: neither $here/lib/node nor node in PATH. Install nodejs 24 or newer." >&2
    exit 1
  }
  version=$("$node" --version)
  major=${version#v}
  if [ "${major%%.*}" -lt 24 ]; then
    echo "iot-device-agent: $node is Node.js $version. Install nodejs 24 or newer, or the package with a runtime of its own." >&2
    exit 1
  fi
fi
exec "$node" --disable-sigusr1 --disable-warning=DEP0169 --max-semi-space-size=1 --heap-growing-percent=30 "$here/lib/iot-device-agent.cjs" "$@"
