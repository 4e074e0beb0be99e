#!/bin/bash
# A KMIP server (PyKMIP's) of its own for each test, on loopback. See README.md here.
#
#   kmip.sh setup                          installs it once; prints its Python
#   kmip.sh start FOLDER                   starts it, writes FOLDER/port and FOLDER/tls
#   kmip.sh stop FOLDER
#   kmip.sh admin FOLDER COMMAND [ID]      by PyKMIP's client: see kmip_admin.py
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

packages=(PyKMIP==0.10.0 cryptography==50.0.2 SQLAlchemy==2.1.9)

setup() {
    local venv
    venv=$(cache_folder)/kmip
    venv_make "$venv" "${packages[@]}"
    printf '%s/bin/python3\n' "$venv"
}

config_write() {
    mkdir -p "$folder/policy"
    cat >"$folder/server.conf" <<CONF
[server]
hostname=127.0.0.1
port=$1
certificate_path=$folder/tls/server.pem
key_path=$folder/tls/server.key
ca_path=$folder/tls/ca.pem
auth_suite=TLS1.2
policy_path=$folder/policy
enable_tls_client_auth=True
logging_level=WARNING
database_path=$folder/pykmip.db
CONF
}

# It gives back its connections to its database when the garbage collector comes by, so that the
# fifteen of a pool are soon all taken, and requests wait half a minute for one.
server_program='
import functools
import sqlalchemy
sqlalchemy.create_engine = functools.partial(sqlalchemy.create_engine, pool_size=0)
from kmip.services.server.server import main
main()'

answers() {
    "$python" "$here/kmip_admin.py" "$port" "$folder/tls" create
}

server_start() {
    config_write "$port"
    process_start "$folder" server "$python" -c "$server_program" \
        -f "$folder/server.conf" -l "$folder/pykmip.log"
    process_ready "$folder" server answers
}

start() {
    local tries=0
    python=$(setup)
    mkdir -p "$folder"
    certificates_make "$folder"
    until port=$(port_free) && server_start; do
        ((++tries < 3)) || die "PyKMIP's server does not start"
    done
    printf '%s\n' "$port" >"$folder/port"
}

command=${1:?usage: kmip.sh setup|start|stop|admin [FOLDER [COMMAND [ID]]]}
folder=$(realpath -m "${2:-.}")
case $command in
setup) setup ;;
start) start ;;
stop) process_stop "$folder" server ;;
admin) exec "$(setup)" "$here/kmip_admin.py" "$(cat "$folder/port")" "$folder/tls" "${@:3}" ;;
*) die "no command $command" ;;
esac
