#!/bin/sh
# Installs the Debian packages named in tools/packages/GROUP.txt that are not installed yet.
#
#   tools/install-packages.sh GROUP...        (build, run, demo, test)
#
# Needs root or sudo only when something is missing.
set -eu

here=$(dirname "$0")
wanted=
for group in "$@"; do
    wanted="$wanted $(cat "$here/packages/$group.txt")"
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
$as_root apt-get update -q
# shellcheck disable=SC2086 # a list of package names
$as_root apt-get install -q -y --no-install-recommends $missing
