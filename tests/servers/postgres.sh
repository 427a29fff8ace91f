#!/usr/bin/env bash
# Starts and ends a private Postgres that lives in one folder.
#
#   postgres.sh start DIR      starts it, or starts it again: same port, same data; prints its URL
#   postgres.sh stop DIR       stops it in good order, cutting off whoever is connected
#   postgres.sh kill DIR       ends it as a power cut would
#
# TREEHOOK_TEST_POSTGRES holds further settings for a new one, as in "shared_buffers=1GB max_wal_size=8GB".
#
# Postgres refuses to run as root; root runs it as the user `postgres`, or as `nobody` where there is none. That user must be
# able to enter the folders above DIR, and `mktemp -d` makes one that nobody else may enter: `chmod 755` it first.
set -euo pipefail
# shellcheck source=tests/servers/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

as_user=()
if [ "$EUID" -eq 0 ]; then
    user=nobody
    ! id postgres >/dev/null 2>&1 || user=postgres
    as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
fi

programs() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [ -x "$found/initdb" ] || fail "Postgres is not installed; run ${BASH_SOURCE[0]%/*}/ensure.sh"
    echo "$found"
}

prepare() {
    local dir=$1
    chmod a+x "$dir"
    mkdir -p "$dir/data" "$dir/socket"
    if [ "$EUID" -eq 0 ]; then
        chown "$user" "$dir/data" "$dir/socket"
        "${as_user[@]}" test -x "$dir" || fail "the user $user cannot enter $dir; chmod 755 the folders above it"
    fi
    # Unsynced, since a power cut in the first second would only cost an empty database.
    "${as_user[@]}" "$(programs)/initdb" --no-sync -A trust -U postgres -E UTF8 --locale C.UTF-8 -D "$dir/data" \
        >>"$dir/server.log" 2>&1 || fail "initdb failed: $(tail -n 3 "$dir/server.log")"
    free_port >"$dir/port"
    echo "postgres://postgres@127.0.0.1:$(cat "$dir/port")/postgres" >"$dir/url"
    cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $(cat "$dir/port")
unix_socket_directories = '$dir/socket'
# Tests run at once, and each has pools of its own.
max_connections = 300
# A killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap
# What a 2xx promises is tested with kills, so the disk has to be told the truth.
fsync = on
# Deadlocks and long waits for locks are found in the log.
log_lock_waits = on
log_min_messages = warning
log_line_prefix = '%m [%p] %a '
CONF
    for setting in ${TREEHOOK_TEST_POSTGRES:-}; do
        echo "$setting" >>"$dir/data/postgresql.conf"
    done
}

# Whether no process works in a folder any more; those of Postgres do, in its data.
vacant() {
    [ -z "$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1" -print 2>/dev/null)" ]
}

serve() {
    # A killed server that nobody has reaped yet is alive to the next one, which finds its pid in the lock files.
    within 10 vacant "$1/data" || fail "processes of a dead server still work in $1/data"
    rm -f "$1/data/postmaster.pid" "$1"/socket/.s.PGSQL.*.lock
    launch "$1" "${as_user[@]}" "$(programs)/postgres" -D "$1/data"
}

# Through the socket, which cannot be another server's. Postgres opens its port first.
ready() {
    "$(programs)/pg_isready" -q -U postgres -h "$1/socket" -p "$(cat "$1/port")"
}

command=${1:-}
dir=$(folder "${2:-}")
cd / # The user may not be able to enter the folder that the caller is in.
case $command in
start) start_server "$dir" ;;
stop) stop_server "$dir" INT ;;
kill) kill_server "$dir" ;;
*) fail "use start, stop or kill, and a folder" ;;
esac
