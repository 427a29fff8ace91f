#!/usr/bin/env bash
# A treehook in embedded mode, with a month of traffic in it: the dashboard shows what its API answers, and the API does what its
# OpenAPI document says, over a thousand requests that the document allows or forbids. `BINARIES` names the folder that cargo
# built into.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
tools=$("$here/ensure.sh")
work=$(mktemp -d)
treehook=
# shellcheck disable=SC2317 # Called by the trap.
clean_up() {
    if [ -n "$treehook" ]; then
        kill "$treehook" 2>/dev/null || true
        wait "$treehook" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT

token=a-token-for-the-console
secret=a-secret-for-the-seed
while IFS='=' read -r name _; do unset "$name"; done < <(env | grep '^TREEHOOK_' || true)
cd "$work"
TREEHOOK_LISTEN=127.0.0.1:0 TREEHOOK_ADMIN_LISTEN=127.0.0.1:0 TREEHOOK_DATA_DIR=$work/data \
    TREEHOOK_LINKTREE_SECRET=$secret TREEHOOK_API_TOKEN=$token TREEHOOK_LOG_FORMAT=json \
    "$BINARIES/treehook" serve >/dev/null 2>"$work/log" &
treehook=$!

# Asks up to 60 s: until COMMAND...
until_true() {
    for _ in $(seq 300); do
        "$@" && return
        kill -0 "$treehook" 2>/dev/null || break
        sleep 0.2
    done
    echo "gave up waiting: $*" >&2
    cat "$work/log" >&2
    return 1
}

until_true grep -q 'dashboard on http' "$work/log"
public=$(sed -nE 's,.*receiving on (http://[0-9.:]+).*,\1,p' "$work/log")
admin=$(sed -nE 's,.*dashboard on (http://[0-9.:]+).*,\1,p' "$work/log")

sent=$(python3 "$here/seed.py" "$public" "$secret")
dealt_with() {
    python3 - "$admin" "$token" "$sent" <<'PYTHON'
import json, sys, urllib.request
admin, token, sent = sys.argv[1:]
asked = urllib.request.Request(f"{admin}/api/v1/status", headers={"authorization": f"Bearer {token}"})
status = json.load(urllib.request.urlopen(asked, timeout=10))
sys.exit((status["applied"] or 0) + (status["dead"] or 0) < int(sent))
PYTHON
}
until_true dealt_with

mkdir "$work/page"
cp "$here"/package.json "$here/browser.mjs" "$here/figures.test.mjs" "$work/page"
ln -s "$tools/node/node_modules" "$work/page/node_modules"
(cd "$work/page" && CONSOLE_URL=$admin CONSOLE_TOKEN=$token EMPTY_URL=$admin timeout 300 node --test)

# Every check is on, and the same seed each time: what fails, fails again. Redriving and discarding are among what is asked,
# with the token, of letters that are there to be lost.
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
    timeout 300 "$tools/python/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$admin/api/openapi.json" \
    --header "Authorization: Bearer $token" --checks all --seed 1 --max-examples 60 --continue-on-failure --no-color
