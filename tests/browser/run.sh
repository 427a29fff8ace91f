#!/usr/bin/env bash
# Runs the browser tests: `run.sh` against canned months that it serves itself, `run.sh URL TOKEN EMPTY_URL`
# against consoles that serve them already. `SHOTS=1` takes the pictures of docs/images as well.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
served=()
clean_up() {
  for process in "${served[@]}"; do kill "$process" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT

cp "$here"/package.json "$here"/package-lock.json "$here"/*.mjs "$work"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --loglevel=error

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
  (cd "$root" && cargo build --quiet -p treehook-console --example preview)
  preview="${CARGO_TARGET_DIR:-$root/target}/debug/examples/preview"
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
node --test --test-concurrency=1
