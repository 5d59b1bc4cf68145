#!/bin/bash
# Runs a command with a database of its own as `databases.default`:
#
#   with_database.sh sqlite|postgres|mariadb|pgbouncer COMMAND ...
#
# `databases.reports` is the same one.
#
# The server is stopped, and everything of it removed, when the command has ended. Its exit status is
# the command's. TYCHO_TEST_DATABASE says which kind it is.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kind=$1
shift

base=/tmp/tycho-servers-$EUID
folders=()

clean_up() {
    local folder
    for folder in "${folders[@]}"; do
        "$here/database.sh" remove "$folder"
    done
}
trap clean_up EXIT
trap 'exit 143' TERM INT

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        is_open "$port" || { echo "$port"; return; }
    done
}

# begin KIND WORDS-OF-THE-LOG [NAME=VALUE ...]: leaves $folder and $port. No words: the port.
begin() {
    local kind=$1 words=$2 log
    folder=$base/$$.$kind
    folders+=("$folder")
    port=$(free_port)
    "$here/database.sh" "$kind" "$folder" "$port" "${@:3}" &
    log=$folder/log.$!
    disown
    for _ in $(seq 600); do
        if { [ -z "$words" ] || grep -qs "$words" "$log"; } && is_open "$port"; then return; fi
        sleep 0.05
    done
    cat "$log" >&2
    exit 1
}

begin_postgres() {
    begin postgres "ready to accept" max_connections=60
    "$here/database.sh" sql "$folder" postgres "create database test"
}

case $kind in
    sqlite)
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        url=sqlite://$folder/test.db ;;
    postgres)
        begin_postgres
        url=postgres://tycho@127.0.0.1:$port/test ;;
    pgbouncer)
        begin_postgres
        begin pgbouncer "" upstream="$port"
        url=postgres://tycho@127.0.0.1:$port/test ;;
    mariadb)
        begin mariadb "ready for connections"
        "$here/database.sh" sql "$folder" mysql "create database test"
        url=mysql://tycho@127.0.0.1:$port/test ;;
    *)
        echo "usage: see the top of $0" >&2
        exit 2 ;;
esac

export TYCHO_DATABASES__DEFAULT__URL=$url TYCHO_DATABASES__REPORTS__URL=$url
TYCHO_TEST_DATABASE=$kind "$@"
