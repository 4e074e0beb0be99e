#!/bin/bash
# An AWS KMS emulator of its own for each test, on loopback, behind a counting proxy. See README.md
# here for what each emulator gets wrong.
#
#   aws.sh setup                             installs the emulators once; prints their Python
#   aws.sh run COMMAND [ARG...]              runs it with that Python as python3; 77 where it cannot
#                                            be had
#   aws.sh start moto|ministack FOLDER       starts one, makes a key, a user and a role in it;
#                                            writes FOLDER/env. Nothing outlives the process.
#   aws.sh stop FOLDER
#   aws.sh admin FOLDER COMMAND [ARG...]     disable-key, deny, session, ...: see aws_admin.py
#   aws.sh count FOLDER [TARGET]             requests so far through the proxy, e.g. Decrypt
#   aws.sh connections FOLDER [TARGET]       connections that these came by
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

packages=('moto[server,kms,sts,iam]==5.2.5' ministack==1.5.33 botocore==1.43.106
    cryptography==50.0.2)
region=eu-central-1

setup() {
    local folder
    folder=$(cache_folder)/aws
    venv_make "$folder" "${packages[@]}"
    printf '%s/bin/python3\n' "$folder"
}

run() {
    local python
    if ! python=$(setup); then
        say "skipped: the packages could not be installed: see above"
        exit 77
    fi
    PATH="$(dirname "$python"):$PATH" exec "$@"
}

stop() {
    process_stop "$folder" proxy
    process_stop "$folder" emulator
}

# ---- start ----

# The emulators read many variables: they get none of the caller's but these. Both put files into
# TMPDIR, ministack into HOME too.
emulator_environment=(env -i PATH="$PATH" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
    AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test)

moto_run() {
    process_start "$folder" emulator "${emulator_environment[@]}" \
        HOME="$folder/tmp" TMPDIR="$folder/tmp" \
        "$python" -m moto.server -H 127.0.0.1 -p "$1"
    process_ready "$folder" emulator curl --silent --fail --noproxy '*' \
        "http://127.0.0.1:$1/moto-api/data.json"
}

ministack_run() {
    process_start "$folder" emulator "${emulator_environment[@]}" \
        HOME="$folder/tmp" TMPDIR="$folder/tmp" BIND_HOST=127.0.0.1 GATEWAY_PORT="$1" \
        AUTH=true SERVICES=kms,sts,iam,ssm,secretsmanager IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 \
        MINISTACK_REGION="$region" LOG_LEVEL=WARNING \
        "$python" -m ministack
    process_ready "$folder" emulator curl --silent --fail --noproxy '*' \
        "http://127.0.0.1:$1/_ministack/health"
}

# moto checks no signature and no policy until told so.
moto_enforce() {
    curl --silent --fail --noproxy '*' --header 'Content-Type: text/plain' --data 0 \
        "$1/moto-api/reset-auth" >/dev/null
}

ministack_enforce() {
    :
}

proxy_start() {
    rm -f "$folder/proxy.ports" "$folder/requests.jsonl"
    process_start "$folder" proxy "$python" "$here/counting_proxy.py" "$folder" "$port"
    process_ready "$folder" proxy test -f "$folder/proxy.ports"
    read -r http https <"$folder/proxy.ports"
}

# Tries another port if this one was taken meanwhile.
emulator_start() {
    local tries=0
    until port=$(port_free) && "$1_run" "$port"; do
        ((++tries < 3)) || die "$1 does not start"
    done
}

start() {
    local kind=$1 python begin port http https
    umask 077
    mkdir -p "$folder/tmp"
    folder=$(realpath "$folder")
    process_alive "$folder" emulator && die "an emulator of $folder runs already"
    python=$(setup)
    begin=$(date +%s%3N)
    rm -f "$folder/env"
    trap stop EXIT
    certificates_make "$folder"
    emulator_start "$kind"
    proxy_start
    printf '%s=%q\n' AWS_ENDPOINT "https://127.0.0.1:$https" AWS_CA_BUNDLE "$folder/tls/ca.pem" \
        AWS_ENDPOINT_HTTP "http://127.0.0.1:$http" AWS_REGION "$region" EMULATOR "$kind" \
        EMULATOR_URL "http://127.0.0.1:$port" PYTHON "$python" >"$folder/env"
    "$python" "$here/aws_admin.py" "$folder" setup >"$folder/env.setup" ||
        die "$kind: the setup failed: see above"
    cat "$folder/env.setup" >>"$folder/env"
    rm -f "$folder/env.setup"
    "${kind}_enforce" "http://127.0.0.1:$port"
    trap - EXIT
    say "$kind at https://127.0.0.1:$https ready in $(($(date +%s%3N) - begin)) ms: . $folder/env"
}

admin() {
    local PYTHON
    PYTHON=$(. "$folder/env" && printf '%s' "$PYTHON")
    "$PYTHON" "$here/aws_admin.py" "$folder" "$@"
}

# ---- what the proxy saw ----

# requests | connections, TARGET: the end of X-Amz-Target, or all.
journal_count() {
    python3 - "$folder/requests.jsonl" "$@" <<'PYTHON'
import json
import sys

log, what, target = sys.argv[1:]
with open(log, encoding="utf-8") as lines:
    seen = [x["connection"] for x in map(json.loads, lines) if x["target"].endswith(target)]
print(len(seen) if what == "requests" else len(set(seen)))
PYTHON
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=${1-}
shift $(($# < 1 ? $# : 1))
case $command in
setup) setup; exit ;;
run) run "$@" ;;
start)
    [[ ${1-} == @(moto|ministack) ]] || usage
    kind=$1
    shift
    ;;
esac
folder=${1-}
[[ -n $folder ]] || usage
shift
case $command in
start) start "$kind" ;;
stop) stop ;;
admin) admin "$@" ;;
count) journal_count requests "${1-}" ;;
connections) journal_count connections "${1-}" ;;
*) usage ;;
esac
