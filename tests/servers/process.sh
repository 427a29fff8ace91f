# shellcheck shell=bash
# What both servers need: ports that nobody uses, and processes that are watched and ended by pid.
#
# Sourced by rabbitmq.sh and postgres.sh. Every server lives in one folder with its data in `data`, its pid in `pid`, its
# port in `port`, its URL in `url` and its output in `server.log`.

# A cold start takes 3 to 8 s, 20 on two busy cores, and was seen to take more than 60 beside several builds.
START_DEADLINE_SECONDS=180
# A server that was asked to stop and has not by now is killed.
STOP_DEADLINE_SECONDS=30

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Whether anything accepts connections on this port. Bash opens the socket itself: a fresh machine has neither python3 nor
# netcat.
listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port that nothing listens on. All are below the kernel's ephemeral range, which starts at 32768, so that no outgoing
# connection takes the port of a server that is down for a moment. Two scripts may pick the same one at once; the server that
# loses dies, and its script picks again.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if ! listens "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port between 20000 and 32000 in 100 tries"
}

# Whether the server of a folder runs. Pids are reused, so the process must have been started on the folder's data; a zombie,
# which a container without an init never reaps, has no command line.
running() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$1/data"
}

# A process and everything below it.
family() {
    sed -n 's/^\([0-9]*\) (.*) . \([0-9]*\) .*/\1 \2/p' /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" '
        { parent[$1] = $2 }
        END {
            for (pid in parent) {
                for (ancestor = pid; ancestor in parent && ancestor != root; ancestor = parent[ancestor]);
                if (ancestor == root) print pid
            }
        }'
}

# Whether all of these processes have ended, and have let go of their sockets.
gone() {
    local pid
    for pid in "$@"; do
        if grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" 2>/dev/null; then
            return 1
        fi
    done
}

# Asks again until it is so, for so many seconds at most.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# Starts the server of a folder in a session of its own, so that a Ctrl-C at the terminal ends the tests first and not what
# they lean on.
launch() {
    local dir=$1
    shift
    rm -f "$dir/pid"
    # Some containers allow 10^9 open files, and Erlang closes every one of them before it starts a process.
    # shellcheck disable=SC2016 # Expanded by the inner shell: its pid is the server's, since it is replaced by it.
    setsid bash -c 'ulimit -Sn 65536 2>/dev/null; echo $$ >"$0"; exec "$@"' "$dir/pid" "$@" \
        </dev/null >>"$dir/server.log" 2>&1 &
    within 10 test -s "$dir/pid" || fail "cannot start a process for $dir"
}

# Waits until the server of a folder passes a check. Fails at once when it has died.
await_ready() {
    local dir=$1 deadline=$((SECONDS + START_DEADLINE_SECONDS))
    shift
    until "$@"; do
        running "$dir" || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# Ends the server of a folder the way a power cut would, with all that it started.
kill_server() {
    local members
    running "$1" || return 0
    mapfile -t members < <(family "$(cat "$1/pid")")
    kill -KILL "${members[@]}" 2>/dev/null || true
    within 10 gone "${members[@]}" || fail "the server of $1 survived SIGKILL"
}

# Asks the server of a folder to stop, with the signal that its makers chose for it.
stop_server() {
    local dir=$1 signal=$2 members
    running "$dir" || return 0
    mapfile -t members < <(family "$(cat "$dir/pid")")
    kill "-$signal" "$(cat "$dir/pid")"
    if ! within "$STOP_DEADLINE_SECONDS" gone "${members[@]}"; then
        echo "${0##*/}: the server of $dir did not stop in $STOP_DEADLINE_SECONDS s, killing it" >&2
        kill_server "$dir"
    fi
}

# Starts the server of a folder that may be new. A new one gets other ports when somebody took those that were picked; an old
# one keeps its own, since whoever knows its URL wants it back under the same.
#
# The caller defines `prepare` (fills the folder), `serve` (launches) and `ready` (checks).
start_server() {
    local dir=$1 tries=1 try
    if running "$dir"; then
        cat "$dir/url"
        return
    fi
    [ -e "$dir/port" ] || tries=3
    for ((try = 1; try <= tries; try++)); do
        [ -e "$dir/port" ] || prepare "$dir"
        serve "$dir"
        if await_ready "$dir" ready "$dir"; then
            cat "$dir/url"
            return
        fi
        kill_server "$dir"
        ((tries == 1)) || rm -rf "$dir/port" "$dir/data"
    done
    tail -n 20 "$dir/server.log" >&2
    fail "the server of $dir did not start"
}

# The folder of a server as an absolute path, made when it is not there.
folder() {
    [ -n "${1:-}" ] || fail "name the server's folder"
    mkdir -p "$1"
    (cd "$1" && pwd -P)
}
