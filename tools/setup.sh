#!/bin/bash
# Installs what one purpose needs and is missing: tools/setup.sh build|test|valgrind|fuzz|lint|bench
#
# Debian's packages, and LuaJIT built from Debian's source. Says what it does; quick when there
# is nothing to do. The services of packages that it installs are not started.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions"
. "$here/sources.sh"

build="gcc libc6-dev cmake ninja-build pkg-config dpkg-dev libuv1-dev libssl-dev libsqlite3-dev
    libyaml-dev libcrypt-dev zlib1g-dev lua-cjson-dev libllhttp-dev libyyjson-dev libpq-dev
    libmariadb-dev libcmocka-dev"
test="$build lua-busted spin curl ca-certificates openssl iproute2 libfaketime mount nftables
    util-linux postgresql mariadb-server-core mariadb-client pgbouncer"
valgrind="$test valgrind"
fuzz="$test clang libclang-rt-dev llvm"
lint="$test clang-format clang-tidy lua-check git"
bench="$build nginx-light libnginx-mod-http-lua lua-resty-core lua-cjson wrk curl python3-fastapi
    python3-uvicorn python3-uvloop python3-httptools python3-asyncpg postgresql"

say() { echo "tycho: $*"; }
die() { say "$*" >&2; exit 1; }

case ${1:-} in
    build | test | valgrind | fuzz | lint | bench) wanted=${!1} ;;
    *) echo "usage: tools/setup.sh build|test|valgrind|fuzz|lint|bench" >&2 && exit 2 ;;
esac

missing() {
    # Virtual and multi-arch names are spelt out above, so that a plain comparison will do.
    { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null || true; } |
        awk -v wanted="$(echo $wanted)" '
        /^.i/ { have[$2] = 1 }
        END { n = split(wanted, names)
              for (i = 1; i <= n; i++) if (!have[names[i]]) printf "%s ", names[i] }'
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Quiet in a log, busy on a terminal.
chatter='^(Selecting|Preparing|Unpacking|Setting up|Processing|update-alternatives|\()'
apt() {
    local quiet=-qq
    [ ! -t 1 ] || quiet=-q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get $quiet -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=300 "$@" </dev/null |
        if [ -t 1 ]; then cat; else grep -vE "$chatter" || true; fi
}

# What is there stays: better no result than a package less.
add_packages() {
    apt install --no-remove --no-install-recommends "$@"
}

is_known() {
    [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]
}

# Debian 12 lacks two libraries that its successor has; both depend on libc alone. The pin keeps
# everything else of that suite out.
add_next_suite() {
    local kind=list entry
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] ||
        die "this distribution has no $names; install by hand: $next_packages"
    entry=$(derive_source deb "$next_suite") || die "this machine's APT has no Debian archive to" \
        "take $next_suite from; install by hand: $next_packages"
    case $entry in *Types:*) kind=sources ;; esac
    say "adding the suite $next_suite to APT, for $next_packages only (/etc/apt/*/tycho.*)"
    as_root tee /etc/apt/preferences.d/tycho.pref >/dev/null <<END
Package: *
Pin: release o=Debian, n=$next_suite
Pin-Priority: -1

Package: $next_packages
Pin: release o=Debian, n=$next_suite
Pin-Priority: 990
END
    as_root tee "/etc/apt/sources.list.d/tycho.$kind" >/dev/null <<<"$entry"
    apt update || { as_root rm -f /etc/apt/{sources.list.d,preferences.d}/tycho.*
        die "APT could not read $next_suite (see above); /etc/apt is as it was"; }
}

# invoke-rc.d asks this file before it starts a service.
policy=/usr/sbin/policy-rc.d
hold_services() {
    if [ -e $policy ] && ! grep -q tools/setup.sh $policy; then
        return
    fi
    printf '#!/bin/sh\n# of tools/setup.sh, while it runs\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    trap 'as_root rm -f $policy' EXIT
}

# What is here to be tested with, or measured, must not take a port at the machine's next start.
# usage: keep_stopped SERVICE PACKAGE, if that is among `names`
keep_stopped() {
    case " $names " in *" $2 "*) [ ! -d /run/systemd/system ] ||
        as_root systemctl disable --quiet "$1" ;; esac
}

install_packages() {
    local names
    names=$(missing)
    [ -n "$names" ] || return 0
    command -v apt-get >/dev/null || die "no apt-get here; install by hand: $names"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "needs root or sudo to install: $names"
    say "installing $names"
    is_known gcc && is_known cmake || apt update
    local name
    for name in libllhttp-dev libyyjson-dev; do
        case " $names " in *" $name "*) is_known $name || { add_next_suite; break; } ;; esac
    done
    hold_services
    # The lists may be older than the archive: once more with new ones before giving up.
    add_packages $names || { apt update && add_packages $names; } || die "APT failed (see above)"
    [ -z "$(missing)" ] || die "still missing: $(missing)"
    keep_stopped nginx nginx-light
    keep_stopped postgresql postgresql
    keep_stopped pgbouncer pgbouncer
}

# For where the source cannot be had; asked for again after a day.
use_system_luajit() {
    say "no source for LuaJIT: using the system's, so endless loops in scripts cannot be stopped"
    if ! pkg-config --exists luajit; then
        hold_services
        add_packages libluajit-5.1-dev || die "there is no LuaJIT to build with"
    fi
    mkdir -p "${given_up%/*}" && touch "$given_up"
}

install_packages
given_up=$("$here/luajit.sh" prefix).given-up
[ -n "$(find "$given_up" -mmin -1440 2>/dev/null)" ] || "$here/luajit.sh" build || use_system_luajit
