#!/bin/bash
# Runs a test against a PyKMIP server of its own: kmip_real.sh COMMAND [ARGUMENT...]
# 77: PyKMIP cannot be had here.
# After it, PyKMIP's client is served by the fake, which is thereby no mirror of our code alone.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
export KMIP_SH=$here/../servers/kmip.sh
if ! "$KMIP_SH" setup >/dev/null; then
    echo "kmip_real.sh: skipped: PyKMIP could not be installed: see above"
    exit 77
fi
KMIP_FOLDER=$(mktemp -d)
export KMIP_FOLDER KMIP_TLS=$KMIP_FOLDER/tls

finish() {
    "$KMIP_SH" stop "$KMIP_FOLDER"
    rm -rf "$KMIP_FOLDER"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

"$KMIP_SH" start "$KMIP_FOLDER"
KMIP_PORT=$(cat "$KMIP_FOLDER/port")
export KMIP_PORT

admin() {
    "$KMIP_SH" admin "$KMIP_FOLDER" "$@"
}

for name in KEY OTHER_KEY REVOKED COMPROMISED; do
    declare -x "KMIP_$name=$(admin create)"
done
KMIP_PREACTIVE=$(admin preactive)
KMIP_WRAPPING=$(admin wrapping)
export KMIP_PREACTIVE KMIP_WRAPPING
admin rounds "$KMIP_KEY"

"$@"

coproc fake { exec python3 "$here/../servers/fake_service.py" --handler fake_kmip:FakeKmip \
    --cert "$KMIP_TLS/server.pem" --key "$KMIP_TLS/server.key" --client-ca "$KMIP_TLS/ca.pem"; }
read -r port <&"${fake[0]}"
"$("$KMIP_SH" setup)" "$here/../servers/kmip_admin.py" "${port//[!0-9]/}" "$KMIP_TLS" fake
