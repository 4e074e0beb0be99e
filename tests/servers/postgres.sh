#!/bin/bash
# A PostgreSQL server of its own for each test, in FOLDER, by a unix socket there and by TCP on
# loopback, with TLS. See README.md here.
#
#   postgres.sh setup              tells whether a server is installed
#   postgres.sh start FOLDER       starts it, writes FOLDER/env
#   postgres.sh stop FOLDER
#   postgres.sh run COMMAND...     starts one in a folder that is removed after, with its env
#
# Exit code 77 (skipped) where PostgreSQL is not installed.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

# The newest.
binaries_find() {
    local folder
    folder=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [[ -x $folder/initdb ]] || folder=$(dirname "$(command -v initdb || echo /none/initdb)")
    [[ -x $folder/postgres ]] || {
        say "skipped: PostgreSQL's server is not installed"
        exit 77
    }
    printf '%s\n' "$folder"
}

# It refuses to run as root.
server_user() {
    getent passwd postgres >/dev/null && echo postgres || echo nobody
}

as_server() {
    if ((EUID == 0)); then
        setpriv --reuid "$(server_user)" --regid "$(id -g "$(server_user)")" --clear-groups \
            env -u PGHOST -u PGPORT HOME="$folder" "$@"
    else
        "$@"
    fi
}

# The test's own user is the superuser by the socket, whoever that is; by TCP there are passwords.
data_make() {
    mkdir -p "$folder"
    certificates_make "$folder"
    mkdir "$folder/data" "$folder/socket"
    cp "$folder"/tls/{ca,server}.pem "$folder/tls/server.key" "$folder/socket"
    ((EUID != 0)) || chown -R "$(server_user)" "$folder/data" "$folder/socket"
    chmod 700 "$folder/data"
    chmod 600 "$folder/socket/server.key"
    chmod 755 "$folder" "$folder/socket"
    as_server "$binaries/initdb" --pgdata "$folder/data" --username admin --encoding UTF8 \
        --locale C --auth-local trust --auth-host scram-sha-256 --no-sync \
        >"$folder/initdb.log" 2>&1 || die "initdb failed: see $folder/initdb.log"
    mv "$folder/socket/server.pem" "$folder/socket/server.key" "$folder/data"
    cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder/socket'
max_connections = 200
shared_buffers = 16MB
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
fsync = off
CONF
}

answers() {
    "$binaries/psql" -X -h "$folder/socket" -p "$port" -U admin -d postgres -c 'SELECT 1'
}

server_run() {
    if ((EUID == 0)); then
        process_start "$folder" server setpriv --reuid "$(server_user)" \
            --regid "$(id -g "$(server_user)")" --clear-groups \
            "$binaries/postgres" -D "$folder/data" -p "$port"
    else
        process_start "$folder" server "$binaries/postgres" -D "$folder/data" -p "$port"
    fi
    process_ready "$folder" server answers
}

env_write() {
    printf 'POSTGRES_SOCKET=%q\nPOSTGRES_PORT=%q\nPOSTGRES_CA=%q\nPOSTGRES_PSQL=%q\n' \
        "$folder/socket" "$port" "$folder/tls/ca.pem" "$binaries/psql" >"$folder/env"
    printf 'POSTGRES_STORE=%q\n' \
        "postgresql:///postgres?host=$folder/socket&port=$port&user=admin" >>"$folder/env"
}

start() {
    local tries=0
    data_make
    until port=$(port_free) && server_run; do
        ((++tries < 3)) || die "PostgreSQL does not start"
    done
    env_write
}

# At once, whoever is connected.
stop() {
    [[ ! -f $folder/data/postmaster.pid ]] ||
        as_server "$binaries/pg_ctl" stop --pgdata "$folder/data" --mode fast >/dev/null || true
    process_stop "$folder" server
}

run() {
    folder=$(mktemp -d)
    trap 'stop; rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    start
    set -a
    . "$folder/env"
    set +a
    unset PGHOST PGPORT PGUSER PGPASSWORD PGSERVICE PGSSLMODE
    "$@"
}

command=${1:?usage: postgres.sh setup|start|stop|run [FOLDER | COMMAND...]}
binaries=$(binaries_find) || exit
folder=$(realpath -m "${2:-.}")
case $command in
setup) printf '%s\n' "$binaries" ;;
start) start ;;
stop) stop ;;
run) run "${@:2}" ;;
*) die "no command $command" ;;
esac
