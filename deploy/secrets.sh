#!/usr/bin/env bash
# Makes the secrets that compose.yaml mounts, in the folder `secrets` beside it or in the one given; keeps those that are there.
#
# Put the secret that Linktree gave you into `linktree_secret` before or after; newest first and comma-separated while two are
# in use. `secrets.example` shows what each file holds. The passwords of broker and database are read when their volumes are
# new, and stand in two files each: to change one later, change it in the server as well.
set -euo pipefail

dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
# The folder is closed to everybody else; the files in it are open, since the containers' users are not ours.
mkdir -p "$dir"
chmod 700 "$dir"
umask 022

# Hexadecimal, since the passwords also stand in URLs.
random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# Writes a secret, without a line break at the end, unless it is there.
keep() {
    [ -s "$dir/$1" ] || printf '%s' "$2" >"$dir/$1"
}

keep linktree_secret "$(random)"
keep visitor_key "$(random)"
keep api_token "$(random)"

keep postgres_password "$(random)"
keep database_url "postgres://treehook:$(cat "$dir/postgres_password")@postgres:5432/treehook"

if [ ! -s "$dir/amqp_url" ] || [ ! -s "$dir/rabbitmq_credentials" ]; then
    password=$(random)
    printf 'default_user = treehook\ndefault_pass = %s\n' "$password" >"$dir/rabbitmq_credentials"
    printf 'amqp://treehook:%s@rabbitmq:5672/%%2f' "$password" >"$dir/amqp_url"
fi
