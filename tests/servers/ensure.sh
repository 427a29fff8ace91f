#!/usr/bin/env bash
# Installs what the tests and checks need from Debian's packages, as far as it is missing.
set -euo pipefail

# Each line: a check that is true where the package is there, and the package.
missing() {
    compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' >/dev/null || echo rabbitmq-server
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    command -v promtool >/dev/null || echo prometheus
    command -v shellcheck >/dev/null || echo shellcheck
    command -v yamllint >/dev/null || echo yamllint
    /usr/bin/python3 -c 'import yaml, tomllib' 2>/dev/null || echo python3-yaml
    command -v systemd-analyze >/dev/null || echo systemd
    command -v setpriv >/dev/null || echo util-linux
}

# Debian's packages start their services when installed; ours are private, and a broker on the standard port is nobody's wish.
# Runs as root.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

if [ "${1:-}" = --install ]; then
    shift
    # One at a time: apt's lists have a lock of their own that is not waited for.
    exec 9>/var/lock/treehook-ensure.lock
    flock 9
    install_quietly "$@" >&2
    exit
fi

mapfile -t packages < <(missing)
((${#packages[@]} > 0)) || exit 0
if ! command -v apt-get >/dev/null; then
    echo "missing: ${packages[*]} (these are Debian's names; install them with this system's package manager)" >&2
    exit 1
fi
as_root=()
if [ "$EUID" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "missing: ${packages[*]}; run as root: apt-get install ${packages[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "installing ${packages[*]}" >&2
"${as_root[@]}" "${BASH_SOURCE[0]}" --install "${packages[@]}"

mapfile -t packages < <(missing)
if ((${#packages[@]} > 0)); then
    echo "still missing after the installation: ${packages[*]}" >&2
    exit 1
fi
