#!/bin/sh
# Installs a Go that can build the test servers' modules, unless there is one already.
#
#   tools/need-go.sh
set -eu

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo

go_is_new_enough() {
    command -v go >/dev/null 2>&1 || return 1
    minor=$(go env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')
    [ "$minor" -ge 21 ]
}

# Debian 12's own Go is too old to fetch the toolchains that the modules ask for; its backports' is not.
install_go() {
    echo "installing Go from Debian's backports" >&2
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
        grep -v security | head -n 1)
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb $site $release-backports main" |
        $as_root tee /etc/apt/sources.list.d/faceworker-backports.list >/dev/null
    $as_root apt-get update -q >&2
    $as_root apt-get install -q -y --no-install-recommends -t "$release-backports" golang-go >&2
}

go_is_new_enough || install_go
