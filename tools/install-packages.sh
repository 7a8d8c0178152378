#!/bin/sh
# Installs the Debian packages named in tools/packages/GROUP.txt that are not installed yet.
#
#   tools/install-packages.sh GROUP...        (build, run, demo, test, arm64)
#
# arm64 is what cross-building for that architecture and running the result takes: besides its own
# list the libraries of `build`, without OpenCV, and cmocka, all of the architecture arm64.
#
# Needs root or sudo only when something is missing.
set -eu

here=$(dirname "$0")
wanted=
foreign=
for group in "$@"; do
    wanted="$wanted $(cat "$here/packages/$group.txt")"
    if [ "$group" = arm64 ] && [ "$(dpkg --print-architecture)" != arm64 ]; then
        foreign=arm64
        wanted="$wanted $(sed -n '/opencv/d; s/^lib.*-dev$/&:arm64/p' "$here/packages/build.txt")"
        wanted="$wanted libcmocka-dev:arm64"
    fi
done

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing Debian packages:$missing" >&2
        echo "Install them as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
[ -z "$foreign" ] || $as_root dpkg --add-architecture "$foreign"
$as_root apt-get update -q
# shellcheck disable=SC2086 # a list of package names
$as_root apt-get install -q -y --no-install-recommends $missing
