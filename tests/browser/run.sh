#!/usr/bin/env bash
# Runs the browser tests: `run.sh` against canned months that it serves itself, `run.sh URL TOKEN EMPTY_URL`
# against consoles that serve them already. `SHOTS=1` takes the pictures of docs/images as well, and `BINARIES`
# names the folder that cargo built into, where that is done already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
tools=$("$here/ensure.sh")
work=$(mktemp -d)
served=()
# shellcheck disable=SC2317 # Called by the trap.
clean_up() {
  for process in "${served[@]}"; do kill "$process" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT

cp "$here"/package.json "$here"/*.mjs "$work"
ln -s "$tools/node/node_modules" "$work/node_modules"

# Serves a preview on a free port, and says where: serve NAME TOKEN [empty]
serve() {
  local name=$1 log="$work/$1.log"
  shift
  "$preview" 127.0.0.1:0 "$@" >"$log" 2>&1 &
  served+=("$!")
  for _ in $(seq 100); do
    if grep -q '^http' "$log"; then
      head -n 1 "$log" >"$work/$name.url"
      return
    fi
    sleep 0.1
  done
  echo "the preview did not start:" >&2
  cat "$log" >&2
  return 1
}

if [ $# -ge 3 ]; then
  export CONSOLE_URL=$1 CONSOLE_TOKEN=$2 EMPTY_URL=$3
else
  if [ -z "${BINARIES:-}" ]; then
    (cd "$root" && cargo build --quiet --locked -p treehook-console --example preview)
    BINARIES=${CARGO_TARGET_DIR:-$root/target}/debug
  fi
  preview=$BINARIES/examples/preview
  export CONSOLE_TOKEN=browser-test-token
  serve full "$CONSOLE_TOKEN"
  serve empty - empty
  CONSOLE_URL=$(cat "$work/full.url")
  EMPTY_URL=$(cat "$work/empty.url")
  export CONSOLE_URL EMPTY_URL
fi

cd "$work"
if [ -n "${SHOTS:-}" ]; then
  mkdir -p "$root/docs/images"
  node shots.mjs "$root/docs/images"
fi
timeout 300 node --test --test-concurrency=1
