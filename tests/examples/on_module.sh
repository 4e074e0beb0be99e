#!/bin/bash
# Runs a test of the vector index on a token of the built module (INDEXKEY_MODULE), in a folder that
# is removed after. The index key is made by pkcs11-tool; its five subkeys are what the test uses.
#
#   on_module.sh file|env|vault|aws COMMAND [ARGUMENT…]
#
# The word says where the token's root key lives: vault and aws are servers that live as long as the
# test. Each client call is a process of its own, so the test meets a token that was written by
# others and read back from its store. With INDEX_KEY_KNOWN set the index key is brought along
# instead of made, and VECTOR_INDEX_KEY_FILE names its 32 bytes.
# Exit code 77 (skipped) where pkcs11-tool, openssl or the server is not installed.
set -euo pipefail

. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../support/source_server.sh"

for tool in pkcs11-tool openssl; do
    command -v "$tool" >/dev/null || source_skip "$tool is not installed"
done

folder=$(mktemp -d)
trap 'source_stop; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

# The lines of the token's section that say where its root key is.
root_key() {
    case $1 in
    file)
        (umask 077 && openssl rand -base64 32 >"$folder/root.key")
        section="source = file
key_file = $folder/root.key"
        ;;
    env)
        VECTOR_INDEX_ROOT=$(openssl rand -base64 32)
        export VECTOR_INDEX_ROOT
        section="source = env
key_env = VECTOR_INDEX_ROOT"
        ;;
    vault | aws)
        source_start "$1" "$folder/server"
        section=$(source_section)
        ;;
    *)
        echo "usage: on_module.sh file|env|vault|aws COMMAND [ARGUMENT...]" >&2
        exit 2
        ;;
    esac
}

# The PINs are of a test token: they show in the process list.
tool() {
    pkcs11-tool --module "$INDEXKEY_MODULE" "$@" >"$folder/tool.log" 2>&1 && return 0
    cat "$folder/tool.log" >&2
    return 1
}

root_key "$1"
shift
printf '[token vectors]\n%s\nstore = sqlite:%s\n' "$section" "$folder/token.db" \
    >"$folder/indexkey.conf"
export INDEXKEY_CONF=$folder/indexkey.conf

tool --slot 0 --init-token --label vectors --so-pin 87654321
tool --token-label vectors --login --login-type so --so-pin 87654321 --init-pin --new-pin 123456
if [[ ${INDEX_KEY_KNOWN-} ]]; then
    export VECTOR_INDEX_KEY_FILE=$folder/index.key
    (umask 077 && openssl rand 32 >"$VECTOR_INDEX_KEY_FILE")
    tool --token-label vectors --login --pin 123456 --write-object "$VECTOR_INDEX_KEY_FILE" \
        --type secrkey --label packages --id 01
else
    tool --token-label vectors --login --pin 123456 --keygen --key-type GENERIC:32 \
        --label packages --id 01
fi
(umask 077 && echo 123456 >"$folder/pin")

VECTOR_INDEX_MODULE=$INDEXKEY_MODULE VECTOR_INDEX_TOKEN=vectors VECTOR_INDEX_NAME=packages \
    VECTOR_INDEX_PIN_FILE=$folder/pin TMPDIR=$folder "$@"
