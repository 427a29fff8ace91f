#!/usr/bin/env bash
# Starts and ends a private RabbitMQ that lives in one folder.
#
#   rabbitmq.sh start DIR      starts it, or starts it again: same ports, same data; prints its URL
#   rabbitmq.sh stop DIR       stops it in good order
#   rabbitmq.sh kill DIR       ends it as a power cut would
#   rabbitmq.sh ctl DIR ...    rabbitmqctl against it, as in `ctl DIR list_queues name messages`
#
# A new one takes RABBITMQ_CONF_LINES into its rabbitmq.conf, and RABBITMQ_ERLANG_COOKIE as its cookie.
#
# It never meets another RabbitMQ of this machine: node, ports, cookie, data, logs, plugins and configuration are its own. The
# one thing shared is Erlang's port mapper epmd, one per machine, which is started when missing and left alone.
set -euo pipefail
# shellcheck source=tests/servers/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

# The scripts inside the package: the wrapper on the PATH switches to another user, who cannot read the folder.
scripts() {
    local found
    found=$(printf '%s\n' /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | sort -V | tail -n 1)
    [ -x "$found/rabbitmq-server" ] || fail "RabbitMQ is not installed; run ${BASH_SOURCE[0]%/*}/ensure.sh"
    echo "$found"
}

prepare() {
    local dir=$1
    mkdir -p "$dir/home" "$dir/data" "$dir/log"
    # One cookie for several nodes lets them form a cluster.
    if [ ! -e "$dir/home/.erlang.cookie" ]; then
        (umask 077 && printf '%s' "${RABBITMQ_ERLANG_COOKIE:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}" \
            >"$dir/home/.erlang.cookie")
    fi
    echo '[].' >"$dir/enabled_plugins"
    cat >"$dir/rabbitmq.conf" <<'CONF'
# Errors are found in one file.
log.console = false
log.file = rabbitmq.log
# The default of 512 MiB is for brokers that have a machine to themselves.
raft.wal_max_size_bytes = 67108864
CONF
    printf '%s\n' "${RABBITMQ_CONF_LINES:-}" >>"$dir/rabbitmq.conf"
    free_port >"$dir/distribution_port"
    free_port >"$dir/port"
    echo "amqp://guest:guest@127.0.0.1:$(cat "$dir/port")/%2f" >"$dir/url"
}

# Runs one of RabbitMQ's scripts with this server's environment and no other.
run() {
    local dir=$1 script=$2
    shift 2
    local launcher=()
    [ "$script" != rabbitmq-server ] || launcher=(launch "$dir")
    # RUNNING_UNDER_SYSTEMD makes the script become the server, so that the pid is the server's. Connections of rabbitmqctl
    # find a free port in a range of their own, however many run at once. Schedulers run where a core is free: bound to one
    # each, as is the default, they wait there for whatever else runs on it.
    "${launcher[@]}" env -i \
        PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true \
        ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_SCHEDULER_BIND_TYPE=u \
        RABBITMQ_NODENAME="treehook-$(cat "$dir/port")@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(cat "$dir/port")" \
        RABBITMQ_DIST_PORT="$(cat "$dir/distribution_port")" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_CTL_DIST_PORT_MIN=33000 RABBITMQ_CTL_DIST_PORT_MAX=60000 \
        RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" \
        RABBITMQ_PID_FILE="$dir/rabbitmq.pid" \
        RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq-env.conf" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" \
        "$(scripts)/$script" "$@"
}

serve() {
    # Erlang ignores the flag; `running` knows the process by it.
    run "$1" rabbitmq-server -treehook_data "$1/data"
}

ready() {
    listens "$(cat "$1/port")" && run "$1" rabbitmqctl --quiet await_startup >/dev/null 2>&1
}

command=${1:-}
dir=$(folder "${2:-}")
case $command in
start) start_server "$dir" ;;
stop) stop_server "$dir" TERM ;;
kill) kill_server "$dir" ;;
ctl) run "$dir" rabbitmqctl "${@:3}" ;;
*) fail "use start, stop, kill or ctl, and a folder" ;;
esac
