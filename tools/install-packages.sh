#!/bin/sh
# Installs the Debian packages named in tools/packages/GROUP.txt that are not installed yet.
#
#   tools/install-packages.sh GROUP...        (build, run, demo, test, arm64)
#
# arm64 is what cross-building for that architecture and running the result takes: besides its own
# list the libraries of `build`, without OpenCV, and cmocka, all of the architecture arm64.
#
# Needs root or sudo only when something is missing. Servers that come with it are neither started nor
# enabled: the tests run their own.
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

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
case " $* " in
*" test "*) # a root fresh from debootstrap does not know its own name
    getent hosts localhost >/dev/null ||
        echo "127.0.0.1 localhost" | $as_root tee -a /etc/hosts
    ;;
esac

# A package may be installed for several architectures; a plain name means the machine's own.
native=$(dpkg --print-architecture)
missing=
for package in $wanted; do
    case $package in *:*) arch=${package#*:} ;; *) arch=$native ;; esac
    dpkg-query -W -f '${db:Status-Status} ${Architecture}\n' "$package" 2>/dev/null |
        grep -Eqx "installed ($arch|all)" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1; then
    echo "Missing Debian packages:$missing" >&2
    echo "Install them as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
[ -z "$foreign" ] || $as_root dpkg --add-architecture "$foreign"
$as_root apt-get update -q
# Debian starts a server as soon as it is installed, unless this says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    trap '$as_root rm -f "$policy"' EXIT
    $as_root chmod 755 "$policy"
fi
# shellcheck disable=SC2086 # a list of package names
$as_root apt-get install -q -y --no-install-recommends $missing
for package in $missing; do
    case $package in
    rabbitmq-server | redis-server | mosquitto)
        ! command -v systemctl >/dev/null 2>&1 || $as_root systemctl -q disable "$package" || true
        ;;
    esac
done
