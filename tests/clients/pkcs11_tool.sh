#!/bin/bash
# A transcript of unmodified pkcs11-tool on the module: every step is a process of its own, so that
# whatever a step finds has survived a restart. Values are compared with openssl's.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
clients_need pkcs11-tool openssl
client_setup

so_pin=so-pin-8765 pin=user-pin-1234
made='Access: +sensitive, always sensitive, never extractable, local$'

tool() { pkcs11-tool --module "$MODULE" "$@"; }
on_vectors() { tool --token-label vectors "$@"; }
as_user() { on_vectors --login --pin "$pin" "$@"; }
as_so() { on_vectors --login --login-type so --so-pin "$so_pin" "$@"; }
on_files() { tool --token-label files --login --pin "$pin" "$@"; }

# The block of `label:` LABEL in the last output.
shows_key() {
    local label=$1 all=$output
    shift
    output=$(awk -v RS='Secret Key Object' -v label="$label" \
        '$0 ~ "\n  label: +" label "\n" {print RS $0}' <<<"$all")
    shows "$@"
    output=$all
}

unique_id() {
    as_user -O --type secrkey 2>/dev/null | awk -v label="$1" \
        '/label:/ {found = $2 == label} /Unique ID:/ && found {print $3}'
}

hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }

# FILE PURPOSE: the subkey of a raw index key, by OpenSSL's KBKDF, in hex.
subkey() {
    openssl kdf -keylen 32 -kdfopt mac:HMAC -kdfopt digest:SHA256 -kdfopt mode:COUNTER \
        -kdfopt "hexkey:$(hex "$1")" -kdfopt "salt:indexkey/1/$2" -binary KBKDF | hex
}

# DIGEST HEX-KEY FILE
hmac() { openssl dgst "-$1" -mac HMAC -macopt "hexkey:$2" -binary "$3"; }

head -c 3000 /dev/urandom >message
head -c 1040 /dev/urandom >short_message
head -c 32 /dev/urandom >wrong_signature
head -c 32 /dev/urandom >index.raw
head -c 32 /dev/urandom >mac.raw
head -c 32 /dev/urandom >aes.raw

# ---- a new token ----

step "-L: slots have the configuration's ids and no token yet"
works tool -L
shows 'Slot 0 \(0x3\): indexkey \[token vectors\]' 'Slot 1 \(0x8\): indexkey \[token files\]' \
    'token state: +uninitialized'

step "-I"
works tool --slot 3 -I
shows '^Cryptoki version 3\.2$' '^Manufacturer +indexkey$' '^Library +indexkey PKCS #11'

step "--list-interfaces"
works tool --slot 3 --list-interfaces
shows '^ +version: 2\.40$' '^ +version: 3\.0$' '^ +version: 3\.2$'

step "-M"
works tool --slot 3 -M
# The other flags are those of the message functions, which the tool does not know.
shows '^  AES-GCM, keySize=\{16,32\}, encrypt, decrypt, wrap, unwrap, other flags=0x26$' \
    '^  AES-CBC-PAD, .*encrypt, decrypt$' '^  AES-KEY-WRAP, .*wrap, unwrap$' \
    '^  AES-KEY-GEN, .*generate$' '^  GENERIC-SECRET-KEY-GEN, .*generate$' \
    '^  SHA256-HMAC, .*sign, verify, other flags=0x38$' \
    '^  SHA3-256-HMAC, .*sign, verify, other flags=0x38$' \
    '^  SHA512, digest$' '^  mechtype-0x3AC, .*derive$'

step "--init-token, by slot id and by slot index"
works tool --slot 3 --init-token --label vectors --so-pin "$so_pin"
shows '^Token successfully initialized$'
works tool --slot-index 1 --init-token --label files --so-pin "$so_pin"

step "-T: labels and slot ids survive a restart; there is no user PIN yet"
works tool --list-token-slots
shows 'Slot . \(0x3\)' 'token label +: vectors$' 'Slot . \(0x8\)' 'token label +: files$' \
    'pin min/max +: 4/255'
hides 'PIN initialized'
refused as_user -O
shows CKR_USER_PIN_NOT_INITIALIZED

step "--init-pin, by the SO"
works as_so --init-pin --new-pin "$pin"
shows '^User PIN successfully initialized$'
works tool --token-label files --login --login-type so --so-pin "$so_pin" --init-pin \
    --new-pin "$pin"
works tool -L
shows 'token flags +: login required, rng, token initialized, PIN initialized, other flags=0x220$'

step "--init-token again needs the old SO PIN"
refused tool --slot 3 --init-token --label taken --so-pin wrong-so-pin
shows CKR_PIN_INCORRECT
works tool -L
shows 'token label +: vectors$'

# ---- PINs ----

step "--change-pin of the user"
works as_user --change-pin --new-pin other-pin
shows '^PIN successfully changed$'
refused as_user -O
shows CKR_PIN_INCORRECT
works on_vectors --login --pin other-pin --change-pin --new-pin "$pin"

step "--change-pin of the SO"
works as_so --change-pin --new-pin other-so-pin
shows '^PIN successfully changed$'
refused as_so --init-pin --new-pin "$pin"
shows CKR_PIN_INCORRECT
works on_vectors --login --login-type so --so-pin other-so-pin --change-pin --new-pin "$so_pin"

step "PINs that are too short or too long are refused"
refused as_user --change-pin --new-pin abc
shows CKR_PIN_LEN_RANGE
refused as_user --change-pin --new-pin "$(printf '%256s' '' | tr ' ' x)"
shows CKR_PIN_LEN_RANGE

step "a wrong PIN, named with the tries left"
refused on_vectors --login --pin wrong-pin -O
shows CKR_PIN_INCORRECT "token 'vectors': wrong user PIN, 9 tries left"
works tool -L
shows 'token flags +:.*user PIN count low'
works as_user -O
works tool -L
hides 'user PIN count low'

step "ten wrong PINs lock"
for _ in {1..9}; do
    refused on_vectors --login --pin wrong-pin -O
    shows CKR_PIN_INCORRECT
done
works tool -L
shows 'token flags +:.*final user PIN try'
refused on_vectors --login --pin wrong-pin -O
works tool -L
shows 'token flags +:.*user PIN locked'
refused as_user -O
shows CKR_PIN_LOCKED

step "--unlock-pin with the SO PIN as PUK unlocks; so does the SO's --init-pin"
refused on_vectors --unlock-pin --puk wrong-puk-1 --new-pin "$pin"
shows CKR_PIN_INCORRECT
works on_vectors --unlock-pin --puk "$so_pin" --new-pin unlocked-pin
works on_vectors --login --pin unlocked-pin -O
works as_so --init-pin --new-pin "$pin"
works as_user -O
works tool -L
hides 'user PIN (locked|count low)'

# ---- keys made inside ----

step "--keygen GENERIC:32 is an index key, with its five subkeys"
works as_user --keygen --key-type GENERIC:32 --label packages --id 01
shows '^Key generated:$' '^Secret Key Object; Generic secret length 32$' 'ID: +01$' \
    'Usage: +derive$' "$made"
works as_user -O --type secrkey
shows_key packages 'ID: +01$' 'Usage: +derive$' "$made"
shows_key packages/token 'Generic secret length 32' 'ID: +0101$' 'Usage: +verify$'
shows_key packages/centroid 'Generic secret length 32' 'ID: +0102$'
shows_key packages/payload 'AES length 32' 'ID: +0103$' 'Usage: +encrypt, decrypt$'
shows_key packages/item 'AES length 32' 'ID: +0104$' 'Usage: +encrypt, decrypt$'
shows_key packages/query 'Generic secret length 32' 'ID: +0105$' \
    'Access: +sensitive, always sensitive, never extractable$'
[[ $(grep -c 'label:' <<<"$output") == 6 ]] || fail "there should be six keys"

step "without login there are no keys"
works on_vectors -O
hides 'Secret Key'

step "--keygen GENERIC:32 with --usage-sign and --allowed-mechanisms is a MAC key"
works as_user --keygen --key-type GENERIC:32 --label mac --id 02 --usage-sign \
    --allowed-mechanisms SHA256-HMAC
shows 'Usage: +verify$' "$made"
hides 'Usage:.*derive'
works as_user --sign -m SHA256-HMAC --id 02 -i message -o signature
refused as_user --sign -m SHA512-HMAC --id 02 -i message -o none
shows CKR_MECHANISM_INVALID

step "--keygen AES:32, with --usage-decrypt and --allowed-mechanisms"
works as_user --keygen --key-type AES:32 --label gcm --id 03
shows '^Secret Key Object; AES length 32$' "$made"
works as_user --keygen --key-type AES:32 --label cbc --id 04 --usage-decrypt --sensitive --private \
    --allowed-mechanisms AES-CBC,AES-CBC-PAD
shows 'Usage: +encrypt, decrypt$' "$made"

step "--keygen --extractable is refused, not overridden"
refused as_user --keygen --key-type AES:32 --label out --id 05 --extractable
shows CKR_TEMPLATE_INCONSISTENT

# ---- keys brought along ----

step "--write-object: an index key, a MAC key, an AES key"
works as_user --write-object index.raw --type secrkey --label docs --id 0a
shows '^Created secret key:$' 'Usage: +derive$' 'Access: +sensitive$'
works as_user --write-object mac.raw --type secrkey --label docsmac --id 0b --usage-sign
shows 'Usage: +verify$' 'Access: +sensitive$'
works as_user --write-object aes.raw --type secrkey --key-type AES: --label docsaes --id 0c \
    --usage-decrypt
shows 'AES length 32' 'Usage: +encrypt, decrypt$' 'Access: +sensitive$'

step "CKA_UNIQUE_ID survives a restart, and a subkey's follows its parent's"
works as_user -O --type secrkey
shows_key docs/item 'ID: +0a04$' 'AES length 32' "Unique ID: +$(unique_id docs)-4\$"
shows_key docs "Unique ID: +[0-9a-f]{32}\$"
[[ $(unique_id docs) != "$(unique_id packages)" ]] || fail "two keys have one unique id"

step "--read-object: no key comes out, whatever its kind"
for id in 01 0101 0103 02 03 0a 0b 0c; do
    refused as_user --read-object --type secrkey --id "$id" -o stolen
    shows CKR_ATTRIBUTE_SENSITIVE
    [[ ! -s stolen ]] || fail "a key was written"
done

# ---- HMAC ----

step "--sign and --verify with SHA256-HMAC on L/token: OpenSSL's KBKDF and HMAC agree"
works as_user --sign -m SHA256-HMAC --id 0a01 -i message -o signature
hmac sha256 "$(subkey index.raw token)" message >expected
same expected signature
works as_user --verify -m SHA256-HMAC --id 0a01 -i message --signature-file signature
shows '^Signature is valid$'
run as_user --verify -m SHA256-HMAC --id 0a01 -i short_message --signature-file signature
hides '^Signature is valid$'
shows '^Invalid signature$'
run as_user --verify -m SHA256-HMAC --id 0a01 -i message --signature-file wrong_signature
hides '^Signature is valid$'

step "SHA-2 and SHA-3 HMAC on L/token, L/query and L/centroid"
for of in sha384:SHA384-HMAC:token:0a01 sha512:SHA512-HMAC:query:0a05 \
    sha3-256:SHA3-256-HMAC:centroid:0a02 sha3-512:SHA3-512-HMAC:token:0a01; do
    IFS=: read -r digest mechanism purpose id <<<"$of"
    works as_user --sign -m "$mechanism" --id "$id" -i message -o signature
    hmac "$digest" "$(subkey index.raw "$purpose")" message >expected
    same expected signature
    works as_user --verify -m "$mechanism" --id "$id" -i message --signature-file signature
    shows '^Signature is valid$'
done

step "HMAC with a MAC key brought along"
works as_user --sign -m SHA256-HMAC --id 0b -i message -o signature
hmac sha256 "$(hex mac.raw)" message >expected
same expected signature

step "an index key, an AES key and a purpose's wrong mechanism do not sign"
refused as_user --sign -m SHA256-HMAC --id 0a -i message -o none
shows CKR_
refused as_user --sign -m SHA256-HMAC --id 0a03 -i message -o none
shows CKR_
refused as_user --sign -m SHA-1-HMAC --id 0a01 -i message -o none
shows CKR_MECHANISM_INVALID

# ---- digests, random ----

step "--hash"
for of in sha1:SHA-1 sha224:SHA224 sha256:SHA256 sha384:SHA384 sha512:SHA512 \
    sha3-224:SHA3-224 sha3-256:SHA3-256 sha3-384:SHA3-384 sha3-512:SHA3-512; do
    works on_vectors --hash -m "${of#*:}" -i message -o digest
    openssl dgst "-${of%:*}" -binary message >expected
    same expected digest
done

step "--generate-random"
works on_vectors --generate-random 1000 -o random
works on_vectors --generate-random 1000 -o random2
[[ $(stat -c %s random) == 1000 ]] || fail "not 1000 bytes"
! cmp -s random random2 || fail "twice the same bytes"

# ---- AES-CBC ----

# MECHANISM FILE OPENSSL-OPTION…: there and back, compared with openssl.
aes_round() {
    local mechanism=$1 file=$2 iv=000102030405060708090a0b0c0d0e0f
    shift 2
    works on_files --encrypt -m "$mechanism" --id 0c --iv "$iv" -i "$file" -o sealed
    openssl enc -aes-256-cbc -K "$(hex aes.raw)" -iv "$iv" "$@" -in "$file" -out expected
    same expected sealed
    works on_files --decrypt -m "$mechanism" --id 0c --iv "$iv" -i sealed -o opened
    same "$file" opened
}

step "--encrypt and --decrypt with AES-CBC-PAD and AES-CBC, over 1023 bytes and below"
works on_files --write-object aes.raw --type secrkey --key-type AES: --label aes --id 0c \
    --usage-decrypt
shows 'Usage: +encrypt, decrypt$'
aes_round AES-CBC-PAD message
aes_round AES-CBC-PAD short_message
aes_round AES-CBC short_message -nopad
head -c 16 message >block
aes_round AES-CBC block -nopad
aes_round AES-CBC-PAD block

step "AES-CBC with a key made inside"
works on_files --keygen --key-type AES:32 --label made --id 0d
works on_files --encrypt -m AES-CBC-PAD --id 0d --iv 00000000000000000000000000000001 -i message \
    -o sealed
! cmp -s message sealed || fail "nothing was encrypted"
works on_files --decrypt -m AES-CBC-PAD --id 0d --iv 00000000000000000000000000000001 -i sealed \
    -o opened
same message opened

step "a GCM key does no CBC"
refused as_user --encrypt -m AES-CBC-PAD --id 03 --iv 00000000000000000000000000000001 -i message \
    -o none
shows CKR_MECHANISM_INVALID

# ---- changing and deleting ----

step "--set-id, which subkeys follow"
docs=$(unique_id docs)
works as_user --type secrkey --id 0a --set-id 2b
works as_user -O --type secrkey
shows_key docs 'ID: +2b$' "Unique ID: +$docs\$"
shows_key docs/token 'ID: +2b01$' "Unique ID: +$docs-1\$"
works as_user --sign -m SHA256-HMAC --id 2b01 -i message -o signature
hmac sha256 "$(subkey index.raw token)" message >expected
same expected signature

step "--delete-object: a key goes with its subkeys, a subkey does not go alone"
refused as_user --delete-object --type secrkey --id 2b01
shows 'C_DestroyObject.*0x1b' # CKR_ACTION_PROHIBITED, which the tool cannot name
works as_user --delete-object --type secrkey --id 2b
works as_user -O --type secrkey
hides 'label: +docs$' 'label: +docs/'
shows 'label: +docsmac$' 'label: +packages/token$'
refused as_user --sign -m SHA256-HMAC --id 2b01 -i message -o none

# ---- every template that the tool can send ----

# OPTION…: makes a key or is refused, rightly; what is made does not come out.
never_readable() {
    run as_user --label any --id ee "$@"
    if ((code != 0)); then
        shows CKR_TEMPLATE_INCONSISTENT
        refused_count=$((refused_count + 1))
        return
    fi
    shows '^  Access: +sensitive'
    refused as_user --read-object --type secrkey --id ee -o stolen
    shows CKR_ATTRIBUTE_SENSITIVE
    [[ ! -s stolen ]] || fail "a key was written"
    works as_user --delete-object --type secrkey --id ee
    made_count=$((made_count + 1))
}

step "no template makes a token key that can be read"
made_count=0 refused_count=0
for flags in '' --private --sensitive --extractable '--private --extractable' \
    '--sensitive --extractable' --usage-wrap --usage-derive '--usage-sign --usage-decrypt'; do
    # Unquoted: it is a list of options.
    never_readable --keygen --key-type AES:32 $flags
    never_readable --keygen --key-type GENERIC:32 $flags
    never_readable --write-object index.raw --type secrkey --key-type AES: $flags
    never_readable --write-object index.raw --type secrkey $flags
done
((made_count >= 16 && refused_count >= 12)) || fail "$made_count made, $refused_count refused"

# ---- the tool's own tests ----

step "--test"
works as_user --test
shows '^No errors$' 'C_GenerateRandom' 'SHA256: OK'

step "--test-fork"
works on_vectors --test-fork
shows 'Calling C_Initialize in forked child process'

step "--test-threads"
works on_vectors --test-threads ILGISLT0 --test-threads ILGISLT0 --test-threads ILGISLT0
shows 'all threads have ended with CKR_OK' 'returned CKR_CRYPTOKI_ALREADY_INITIALIZED'

# ---- starting anew ----

step "--init-token with the old SO PIN takes the keys away"
works tool --slot 3 --init-token --label vectors --so-pin "$so_pin"
refused as_user -O
shows CKR_USER_PIN_NOT_INITIALIZED
works as_so --init-pin --new-pin "$pin"
works as_user -O
hides 'Secret Key'
works on_files -O
shows 'label: +made$'

steps_end
