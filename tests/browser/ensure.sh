#!/usr/bin/env bash
# Installs what the console's tests need, as far as it is missing, and prints the folder that holds it: `node/` and `python/`.
#
# Chromium, Node and Python come from Debian's packages; what npm and pip install is pinned, and kept in a cache folder outside
# of the tree, by the digest of its pins. Without a registry to install from this fails; it never skips.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/treehook-console-tests

die() {
    echo "test-console: $*" >&2
    exit 1
}

missing() {
    command -v "${CHROMIUM:-chromium}" >/dev/null || echo chromium
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || echo npm
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

mapfile -t packages < <(missing)
if ((${#packages[@]} > 0)); then
    as_root=()
    [ "$EUID" -eq 0 ] || as_root=(sudo)
    echo "installing ${packages[*]}" >&2
    "${as_root[@]}" "$here/../servers/ensure.sh" --install "${packages[@]}" ||
        die "could not install ${packages[*]} (Debian's names): install them, and run this again"
    mapfile -t packages < <(missing)
    ((${#packages[@]} == 0)) || die "still missing after the installation: ${packages[*]}"
fi

digest=$(cat "$here"/package-lock.json "$here"/requirements.txt <(node --version) <(python3 --version) | sha256sum | cut -c1-16)
tools=$cache/$digest
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -e "$tools/complete" ]; then
    rm -rf "$tools"
    mkdir -p "$tools/node"
    cp "$here"/package.json "$here"/package-lock.json "$tools/node"
    npm ci --prefix "$tools/node" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
        die "npm could not install tests/browser/package-lock.json: is its registry reachable?"
    python3 -m venv "$tools/python"
    "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 ||
        die "pip could not install tests/browser/requirements.txt: is its index reachable?"
    touch "$tools/complete"
fi
echo "$tools"
