#!/usr/bin/env bash
# Asks a listener of this container whether it is well: `probe 8080 /readyz` succeeds on a 200.
#
# The image has no curl, and needs none for this.
set -euo pipefail

port=${1:?usage: probe PORT PATH} path=${2:?usage: probe PORT PATH}
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
read -r -t 3 _ status _ <&3
[ "$status" = 200 ]
