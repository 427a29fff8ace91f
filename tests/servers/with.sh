#!/usr/bin/env bash
# Runs a command with a private RabbitMQ and a private Postgres, and leaves nothing behind.
#
#   with.sh cargo test --workspace
#
# The command sees TREEHOOK_TEST_AMQP_URL and TREEHOOK_TEST_DATABASE_URL (a server that is set already is not started),
# TREEHOOK_TEST_SERVERS (this folder, for tests that start servers of their own) and a TMPDIR that goes away with the rest.
# Servers that a test started below it and left are ended too. The command reads nothing from the terminal; its exit code is
# ours.
set -euo pipefail

(($# > 0)) || {
    echo "usage: ${0##*/} COMMAND [ARGUMENT...]" >&2
    exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
"$here/ensure.sh"

dir=$(mktemp -d "${TMPDIR:-/tmp}/treehook-XXXXXX")
chmod 755 "$dir" # Postgres runs as another user when we are root.
mkdir -m 1777 "$dir/tmp"

# Data that is thrown away needs no shutdown, but a killed Postgres leaves a segment of shared memory behind.
# shellcheck disable=SC2317 # Called by the trap.
clean_up() {
    trap '' INT TERM
    wait # For servers that are still starting: they would outlive us.
    local url
    while IFS= read -r url; do
        case $(cat "$url") in
        amqp:*) "$here/rabbitmq.sh" kill "${url%/*}" ;;
        postgres:*) "$here/postgres.sh" stop "${url%/*}" ;;
        esac
    done < <(find "$dir" -name url -type f)
    # A small disk of a test that was killed would stay.
    while read -r _ mounted _; do
        case $mounted in "$dir"/*) umount "$mounted" ;; esac
    done </proc/mounts
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

starting=()
if [ -z "${TREEHOOK_TEST_AMQP_URL:-}" ]; then
    "$here/rabbitmq.sh" start "$dir/rabbitmq" >/dev/null &
    starting+=($!)
fi
if [ -z "${TREEHOOK_TEST_DATABASE_URL:-}" ]; then
    "$here/postgres.sh" start "$dir/postgres" >/dev/null &
    starting+=($!)
fi
for pid in "${starting[@]}"; do
    wait "$pid"
done
export TREEHOOK_TEST_AMQP_URL=${TREEHOOK_TEST_AMQP_URL:-$(cat "$dir/rabbitmq/url" 2>/dev/null)}
export TREEHOOK_TEST_DATABASE_URL=${TREEHOOK_TEST_DATABASE_URL:-$(cat "$dir/postgres/url" 2>/dev/null)}
export TREEHOOK_TEST_SERVERS=$here
export TMPDIR=$dir/tmp

# A process group of its own, so that a signal reaches all that the command started and none of the servers.
set -m
"$@" </dev/null &
command=$!
set +m
trap 'kill -INT -- "-$command" 2>/dev/null || true' INT
trap 'kill -TERM -- "-$command" 2>/dev/null || true' TERM

# `wait` also returns when a signal came, with the command still busy ending.
code=0
while :; do
    code=0
    wait "$command" || code=$?
    kill -0 "$command" 2>/dev/null || break
done
exit "$code"
