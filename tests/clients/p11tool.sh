#!/bin/bash
# GnuTLS's p11tool on the module. The token is made with pkcs11-tool.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
clients_need pkcs11-tool p11tool openssl
client_setup

pin=user-pin-1234
export GNUTLS_PIN=$pin
url='pkcs11:token=vectors'

# p11tool takes PINs from the environment; --batch keeps it from asking.
tool() { p11tool --provider "$MODULE" --batch "$@"; }

step "--list-tokens, before there is one"
works tool --list-tokens
hides 'Label: vectors'

step "a token and a key, by pkcs11-tool"
works pkcs11-tool --module "$MODULE" --slot 3 --init-token --label vectors --so-pin so-pin-8765
works pkcs11-tool --module "$MODULE" --token-label vectors --login --login-type so \
    --so-pin so-pin-8765 --init-pin --new-pin "$pin"
works pkcs11-tool --module "$MODULE" --token-label vectors --login --pin "$pin" --keygen \
    --key-type GENERIC:32 --label packages --id 01

step "--list-tokens"
works tool --list-tokens
shows 'Label: vectors$' 'Manufacturer: indexkey$' 'URL: pkcs11:.*token=vectors'

step "--list-mechanisms"
works tool --list-mechanisms "$url"
shows CKM_AES_GCM CKM_SHA256_HMAC

step "--list-all without login shows no key"
works tool --list-all "$url"
hides 'object=packages'

step "--list-all with login"
works tool --login --list-all "$url"
shows 'object=packages;type=secret-key' 'object=packages%2[FF]token;type=secret-key' \
    'object=packages%2[FF]payload;type=secret-key' 'CKA_SENSITIVE'

step "--info"
works tool --login --info "$url;object=packages;type=secret-key"
shows 'Label: packages$' 'ID: 01$' 'CKA_PRIVATE' 'CKA_SENSITIVE'

step "--generate-random"
works tool --generate-random 32 "$url"

step "a wrong PIN is refused, the right one works after it"
GNUTLS_PIN=wrong-pin run tool --login --list-all "$url"
hides 'object=packages'
works tool --login --list-all "$url"
shows 'object=packages;type=secret-key'

steps_end
