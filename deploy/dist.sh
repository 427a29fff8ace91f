#!/usr/bin/env bash
# Packs a release tarball of a built binary: dist/treehook-VERSION-ARCH.tar.gz and its SHA-256.
#
#   dist.sh target/release/treehook
#
# The same commit and binary give the same bytes, so that two people can compare what they built.
set -euo pipefail

binary=$(realpath "${1:?usage: dist.sh BINARY}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || {
    echo "dist.sh: Cargo.toml names no version under [workspace.package]" >&2
    exit 1
}
name=treehook-$version-$(uname -m)

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/$name" dist
# Nothing in it is ever committed.
echo "*" >dist/.gitignore
install -m 755 "$binary" "$staging/$name/treehook"
install -m 644 README.md deploy/systemd/treehook.service deploy/treehook.toml "$staging/$name/"
for licence in LICENSE*; do
    [ ! -e "$licence" ] || install -m 644 "$licence" "$staging/$name/"
done

tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    -C "$staging" -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "dist/$name.tar.gz"
