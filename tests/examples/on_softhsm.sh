#!/bin/sh
# Runs a test of the vector index on a SoftHSM token of its own, in a folder that is removed after.
#
#   on_softhsm.sh COMMAND [ARGUMENT…]
#
# Exit code 77 (skipped) where SoftHSM or pkcs11-tool is not installed.
set -eu

for tool in softhsm2-util pkcs11-tool; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed" >&2
        exit 77
    fi
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

here=$(dirname "$0")
made=$(sh "$here/../servers/softhsm_token.sh" "$folder/softhsm" vectors 87654321 123456 demo)
eval "$made"
(umask 077 && echo 123456 >"$folder/pin")

VECTOR_INDEX_MODULE=$SOFTHSM_MODULE VECTOR_INDEX_TOKEN=vectors VECTOR_INDEX_NAME=demo \
    VECTOR_INDEX_PIN_FILE=$folder/pin TMPDIR=$folder "$@"
