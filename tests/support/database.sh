#!/bin/bash
# Real database servers for the tests: PostgreSQL, MariaDB, PgBouncer.
#
#   database.sh postgres  FOLDER PORT [NAME=VALUE ...]
#   database.sh mariadb   FOLDER PORT [NAME=VALUE ...]
#   database.sh pgbouncer FOLDER PORT upstream=PORT [NAME=VALUE ...]
#       becomes the server: in the foreground, at 127.0.0.1, its socket, data and log in FOLDER.
#       Its log is FOLDER/log.PID, of this process; it is ready when that says "ready to accept",
#       "ready for connections" or "process up". The same FOLDER again starts what is in it.
#   database.sh kill FOLDER
#       ends whatever runs in FOLDER, at once.
#   database.sh remove FOLDER
#       and removes it.
#   database.sh sql FOLDER DATABASE STATEMENTS
#       runs statements there, past passwords; prints rows as lines.
#
# Names that are not the server's settings:
#   password=WORD     of the user tycho, who may do everything; without it nobody is asked for one
#   tls=on|only       with FOLDER/server.crt, of its own making, for localhost and 127.0.0.1
#   primary=FOLDER    PostgreSQL: begin as a standby of the server there
#   upstream=PORT     PgBouncer: the PostgreSQL behind it
#
# FOLDER is /tmp/tycho-servers-UID/PID.ANYTHING, where PID is the test's: what tests leave behind
# that were killed is removed by the next start of any server. What takes long, initdb and
# mariadb-install-db, is done once for all tests of this machine, and copied. When the one who
# started it dies, the server dies. Root starts servers as nobody, as PostgreSQL wants it.
set -euo pipefail
script=$(realpath "$0")

fail() { echo "database.sh: $*" >&2; exit 1; }

become() { # SIGNAL COMMAND ...: the signal comes when our parent has died
    local user=()
    [ "$EUID" != 0 ] || user=(--reuid nobody --regid "$(id -g nobody)" --clear-groups)
    exec setpriv "${user[@]}" --pdeathsig "$1" -- "${@:2}"
}

as_server() { (become KILL "$@"); }

first_of() {
    local path
    for path in "$@"; do
        [ ! -x "$path" ] || { echo "$path"; return; }
    done
    fail "there is no ${1##*/}: tools/setup.sh test installs it"
}

# Debian's own psql, in the path, is a script that takes longer than the query.
find_postgres() { PATH=$(dirname "$(first_of /usr/lib/postgresql/*/bin/postgres)"):$PATH; }

# ---- folders

base=/tmp/tycho-servers-$EUID

make_base() {
    [ -d "$base" ] || mkdir -m 711 "$base" 2>/dev/null || [ -d "$base" ]
    [ -O "$base" ] && [ ! -L "$base" ] || fail "$base belongs to somebody else"
}

make_folder() { # FOLDER: belongs to the server
    mkdir -p "$1"
    chmod 700 "$1"
    [ "$EUID" != 0 ] || chown nobody: "$1"
}

running_in() { # processes end while find looks: that is no fault
    find /proc -maxdepth 2 -name cwd \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null |
        sed 's|/proc/||; s|/cwd||' || true
}

# PostgreSQL leaves a segment of System V's shared memory when it is killed, and a file with a
# process id that may be another's now.
sweep() {
    local pids segment
    while pids=$(running_in "$1") && [ -n "$pids" ]; do
        kill -9 $pids 2>/dev/null || true
    done
    segment=$(sed -n '7s/.* //p' "$1/data/postmaster.pid" 2>/dev/null || true)
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null || true
    rm -f "$1/data/postmaster.pid"
}

remove() {
    sweep "$1"
    rm -rf "$1"
}

remove_orphans() {
    local folder pid
    for folder in "$base"/[0-9]*; do
        pid=${folder##*/}
        [ ! -e "$folder" ] || [ -d "/proc/${pid%%.*}" ] || remove "$folder" || true
    done
}

# usage: take_template NAME, where make_NAME FOLDER makes one
take_template() {
    local sum template
    sum=$(cat "$script" <("version_of_$1") | cksum)
    template=$base/template-$1-${sum%% *}
    (
        flock 9
        if [ ! -d "$template" ]; then
            find "$base" -maxdepth 1 -name "template-$1-*" -mmin +1440 -exec rm -rf {} + # older
            rm -rf "$template.new"                                                       # half done
            make_folder "$template.new"
            "make_$1" "$template.new" >"$base/$1.log" 2>&1 || fail "$(cat "$base/$1.log")"
            mv "$template.new" "$template"
        fi
    ) 9>"$base/lock"
    cp -a --reflink=auto "$template" "$folder/data"
}

make_certificate() {
    [ "$tls" ] && [ ! -e "$folder/server.crt" ] || return 0
    as_server openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$folder/server.key" -out "$folder/server.crt" 2>/dev/null
}

# ---- PostgreSQL

version_of_postgres() { postgres --version; }

# Written data survive the death of processes without fsync; only the machine must not die. What a
# session has to set for itself is not as it would like it.
make_postgres() {
    as_server initdb -D "$1" -U tycho -A trust -E UTF8 --locale C.UTF-8 --wal-segsize 1 --no-sync
    cat >>"$1/postgresql.conf" <<'CONF'
fsync = off
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
jit = off
timezone = 'Asia/Kolkata'
datestyle = 'SQL, DMY'
log_line_prefix = '%m [%p] %q%u@%d %a '
max_wal_size = 256MB
wal_keep_size = 64MB
CONF
}

# The socket is for the tests themselves: nobody is asked for a password there.
write_access() {
    local host=host how=trust
    [ "$tls" != only ] || host=hostssl
    [ -z "$password" ] || how=scram-sha-256
    printf '%s all all %s\n' local trust "$host" "127.0.0.1/32 $how" >"$folder/data/pg_hba.conf"
    printf 'local replication all trust\n' >>"$folder/data/pg_hba.conf"
}

begin_postgres() {
    if [ "$primary" ]; then
        # A backup wants its place to be empty, and is not afraid of it being there.
        as_server pg_basebackup -h "$primary" -p "$(cat "$primary/port")" -U tycho --no-sync \
            -D "$folder/data" -R -X stream -c fast
        return
    fi
    take_template postgres
    [ -z "$password" ] || as_server postgres --single -D "$folder/data" postgres >/dev/null \
        <<<"alter role tycho password '$password'"
}

run_postgres() {
    local options=() setting
    find_postgres
    [ -d "$folder/data" ] || begin_postgres
    make_certificate
    write_access
    [ -z "$tls" ] || settings+=("ssl=on" "ssl_cert_file=$folder/server.crt"
        "ssl_key_file=$folder/server.key")
    for setting in listen_addresses=127.0.0.1 "unix_socket_directories=$folder" \
        "${settings[@]}"; do
        options+=(-c "$setting")
    done
    become QUIT postgres -D "$folder/data" -p "$port" "${options[@]}"
}

# ---- MariaDB

version_of_mariadb() { "$(first_of /usr/sbin/mariadbd)" --version; }

small=(--innodb-buffer-pool-size=24M --innodb-log-file-size=16M --innodb-flush-method=nosync
    --innodb-flush-log-at-trx-commit=2 --key-buffer-size=1M --aria-pagecache-buffer-size=1M)

make_mariadb() {
    as_server mariadb-install-db --no-defaults --datadir="$1" --skip-test-db --skip-name-resolve \
        --auth-root-authentication-method=normal "${small[@]}"
}

run_mariadb() {
    local options=() setting how=''
    [ -d "$folder/data" ] || take_template mariadb
    make_certificate
    [ -z "$password" ] || how="identified by '$password'"
    printf '%s;\n' "create or replace user tycho@'127.0.0.1' $how" \
        "create or replace user tycho@localhost" \
        "grant all on *.* to tycho@'127.0.0.1' with grant option" \
        "grant all on *.* to tycho@localhost with grant option" >"$folder/init.sql"
    [ -z "$tls" ] || settings+=("ssl-cert=$folder/server.crt" "ssl-key=$folder/server.key")
    [ "$tls" != only ] || settings+=(require-secure-transport=on)
    for setting in "${settings[@]}"; do
        options+=("--$setting")
    done
    become KILL "$(first_of /usr/sbin/mariadbd)" --no-defaults --datadir="$folder/data" \
        --port="$port" --bind-address=127.0.0.1 --socket="$folder/socket" \
        --pid-file="$folder/pid" --tmpdir="$folder" --init-file="$folder/init.sql" \
        --skip-name-resolve \
        --character-set-server=utf8mb4 --default-time-zone=+05:30 "${small[@]}" "${options[@]}"
}

# ---- PgBouncer

run_pgbouncer() {
    [ "$upstream" ] || fail "upstream=PORT is missing"
    make_certificate
    [ -z "$tls" ] || settings+=("client_tls_sslmode=$([ "$tls" = only ] && echo require ||
        echo allow)" "client_tls_cert_file=$folder/server.crt"
        "client_tls_key_file=$folder/server.key")
    {
        echo "[databases]"
        echo "* = host=127.0.0.1 port=$upstream user=tycho ${password:+password=$password}"
        echo "[pgbouncer]"
        printf '%s\n' "listen_addr=127.0.0.1" "listen_port=$port" "unix_socket_dir=$folder" \
            auth_type=any pool_mode=transaction "${settings[@]}"
    } >"$folder/pgbouncer.ini"
    become KILL "$(first_of /usr/sbin/pgbouncer)" "$folder/pgbouncer.ini"
}

# ---- statements

run_sql() { # DATABASE STATEMENTS
    if [ -e "$folder/init.sql" ]; then
        exec mariadb --no-defaults -S "$folder/socket" -u tycho -BN \
            --default-character-set=utf8mb4 -D "$1" -e "$2"
    fi
    find_postgres
    PGTZ=UTC PGDATESTYLE=ISO exec psql -X -q -At -v ON_ERROR_STOP=1 -h "$folder" \
        -p "$(cat "$folder/port")" -U tycho -d "$1" -c "$2"
}

# ---- arguments

[ $# -ge 2 ] && [[ $2 == "$base"/[0-9]* ]] || fail "usage: see the top of $0"
folder=$2
make_base
case $1 in
    remove) remove "$folder"; exit ;;
    kill) sweep "$folder"; exit ;;
    sql) run_sql "$3" "$4" ;;
esac
[ $# -ge 3 ] && [[ $1 =~ ^(postgres|mariadb|pgbouncer)$ ]] || fail "usage: see the top of $0"

port=$3 password='' tls='' primary='' upstream='' settings=()
for setting in "${@:4}"; do
    case $setting in
        password=* | tls=* | primary=* | upstream=*)
            printf -v "${setting%%=*}" %s "${setting#*=}" ;;
        *) settings+=("$setting") ;;
    esac
done

remove_orphans
[ ! -d "$folder" ] || sweep "$folder"
make_folder "$folder"
echo "$port" >"$folder/port"
cd "$folder" # the server may not be allowed to be where we are
exec >"$folder/log.$$" 2>&1 </dev/null
"run_$1"
