#!/usr/bin/env bash
# Tests the console from outside, with what cargo built into a folder: `test.sh target/debug`. First over canned months that try
# it hard, then over a real treehook.
set -euo pipefail

(($# == 1)) || {
    echo "usage: ${0##*/} FOLDER" >&2
    exit 2
}
BINARIES=$(cd "$1" && pwd -P)
export BINARIES
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
"$here/run.sh"
"$here/live.sh"
