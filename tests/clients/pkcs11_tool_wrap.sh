#!/bin/bash
# pkcs11-tool --wrap and --unwrap: a key leaves one token under a wrapping key and comes back, and
# what the policy keeps inside stays there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
clients_need pkcs11-tool openssl
client_setup
client_token_section moving 12 'relax = token-keys-stay-inside' >>indexkey.conf

so_pin=so-pin-8765 pin=user-pin-1234 iv=000102030405060708090a0b0c0d0e0f
tool() { pkcs11-tool --module "$MODULE" "$@"; }
as_user() { tool --token-label "$1" --login --pin "$pin" "${@:2}"; }

new_token() {
    works tool --slot "$1" --init-token --label "$2" --so-pin "$so_pin"
    works tool --token-label "$2" --login --login-type so --so-pin "$so_pin" --init-pin \
        --new-pin "$pin"
    works as_user "$2" --keygen --key-type AES:32 --label wrapping --id 01 --usage-wrap
    shows 'Usage: +wrap, unwrap$' 'Access: +sensitive, always sensitive, never extractable, local$'
}

step "--keygen --usage-wrap"
new_token 3 vectors
new_token 12 moving

step "no key of a token leaves by default"
works as_user vectors --keygen --key-type AES:32 --label data --id 02 --usage-decrypt
refused as_user vectors --wrap -m AES-KEY-WRAP --id 01 --application-id 02 --output-file none
shows CKR_KEY_UNEXTRACTABLE
[[ ! -s none ]] || fail "something came out"

step "with relax = token-keys-stay-inside, one that was made to leave does, and comes back"
works as_user moving --keygen --key-type AES:32 --label data --id 02 --usage-decrypt --extractable \
    --allowed-mechanisms AES-CBC-PAD
shows 'Access: +sensitive, always sensitive, extractable, local$'
works as_user moving --wrap -m AES-KEY-WRAP --id 01 --application-id 02 --output-file blob
[[ $(stat -c %s blob) == 40 ]] || fail "a blob of $(stat -c %s blob) bytes"
works as_user moving --unwrap -m AES-KEY-WRAP --id 01 --input-file blob --key-type AES: \
    --application-id 03 --application-label back --allowed-mechanisms AES-CBC-PAD
shows 'label: +back$' 'AES length 32' 'Access: +sensitive$'
head -c 1000 /dev/urandom >message
for id in 02 03; do
    works as_user moving --encrypt -m AES-CBC-PAD --id "$id" --iv "$iv" -i message -o "sealed$id"
done
same sealed02 sealed03

step "the wrapping key and index keys stay, a wrapping key encrypts nothing"
refused as_user moving --wrap -m AES-KEY-WRAP --id 01 --application-id 01 --output-file none
shows CKR_KEY_UNEXTRACTABLE
works as_user moving --keygen --key-type GENERIC:32 --label packages --id 04
refused as_user moving --wrap -m AES-KEY-WRAP --id 01 --application-id 04 --output-file none
shows CKR_KEY_UNEXTRACTABLE
refused as_user moving --decrypt -m AES-CBC-PAD --id 01 --iv "$iv" -i blob -o none
shows CKR_KEY_FUNCTION_NOT_PERMITTED
refused as_user moving --keygen --key-type AES:32 --label both --id 05 --usage-wrap --usage-decrypt
shows CKR_TEMPLATE_INCONSISTENT

step "a blob of random bytes"
head -c 40 /dev/urandom >blob
refused as_user moving --unwrap -m AES-KEY-WRAP --id 01 --input-file blob --key-type AES: \
    --application-id 06
shows CKR_WRAPPED_KEY_INVALID

steps_end
