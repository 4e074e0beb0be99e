# A real server that holds a token's root key. Sourced by bash scripts that have
# `set -euo pipefail` in force.
#
#   source_start vault|aws FOLDER   starts it, exports the client's credentials; ends the script
#                                   with code 77 (skipped) where the server is not installed
#   source_section                  the lines of a token's section that name it
#   source_count                    the requests for a key that it has seen
#   source_connections              the connections that these came by
#   source_stop                     after any source_start, whatever became of it

source_kind='' source_folder=''
source_servers=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../servers

source_skip() {
    echo "skipped: $1" >&2
    exit 77
}

# Building one takes minutes, which is ./dev test's work, before any test's time runs.
source_find_vault() {
    local cache=${INDEXKEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/indexkey}
    command -v vault >/dev/null || command -v bao >/dev/null ||
        compgen -G "$cache/vault-server/*/vault" >/dev/null ||
        source_skip "no Vault server: run tests/servers/vault.sh build, once"
}

source_start_vault() {
    source_find_vault
    source_control start "$source_folder"
    . "$source_folder/env"
    export VAULT_TOKEN=$CLIENT_TOKEN
}

source_start_aws() {
    source_control setup >/dev/null || source_skip "ministack could not be installed: see above"
    source_control start ministack "$source_folder"
    . "$source_folder/env"
    unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION
    export AWS_ACCESS_KEY_ID=$ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SECRET_ACCESS_KEY
}

source_control() {
    "$source_servers/$source_kind.sh" "$@"
}

source_start() {
    source_kind=$1 source_folder=$2
    "source_start_$source_kind"
}

source_section() {
    case $source_kind in
    vault)
        printf '%s\n' "source = vault" "vault_addr = $VAULT_ADDR" "ca_file = $VAULT_CACERT" \
            "key_name = $KEY_NAME"
        ;;
    aws)
        printf '%s\n' "source = aws" "key_id = $KEY_ARN" "endpoint = $AWS_ENDPOINT" \
            "ca_file = $AWS_CA_BUNDLE"
        ;;
    esac
}

source_count() {
    source_control count "$source_folder"
}

source_connections() {
    source_control connections "$source_folder"
}

source_stop() {
    [[ ! -d $source_folder ]] || source_control stop "$source_folder"
}
