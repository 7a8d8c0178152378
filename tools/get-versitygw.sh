#!/bin/sh
# Prints the path of a Versity S3 Gateway, an S3 server that checks signatures: $VERSITYGW, else the one
# in PATH, else one in the cache folder, else builds it from its Go module into the cache folder.
#
#   tools/get-versitygw.sh [--no-build]       (then fails instead of building)
#
# This is for tests.
set -eu

here=$(dirname "$0")
version=1.8.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/faceworker/versitygw-$version

if [ -n "${VERSITYGW:-}" ]; then
    echo "$VERSITYGW"
    exit 0
fi
if command -v versitygw; then
    exit 0
fi
if [ -x "$cache/versitygw" ]; then
    echo "$cache/versitygw"
    exit 0
fi
if [ "${1:-}" = --no-build ]; then
    exit 1
fi

"$here/need-go.sh"
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT

echo "versitygw: building version $version from its Go module; this takes a few minutes once" >&2
mkdir -p "$cache"
CGO_ENABLED=0 GOBIN=$work go install "github.com/versity/versitygw/cmd/versitygw@v$version" >&2
mv "$work/versitygw" "$cache/versitygw.$$"
mv "$cache/versitygw.$$" "$cache/versitygw"
echo "$cache/versitygw"
