#!/bin/sh
# Makes a SoftHSM token with the five keys of one encrypted index, all in one folder.
#
#   softhsm_token.sh FOLDER TOKEN-LABEL SO-PIN USER-PIN INDEX
#
# Run: makes the token and prints the variables to export. Sourced, with the same arguments set as
# positional parameters: exports SOFTHSM2_CONF and SOFTHSM_MODULE into the calling shell.
# Nothing outside FOLDER is written. The PINs are of a test token: they show in the process list.

softhsm_module() {
    for softhsm_path in "$SOFTHSM_MODULE" /usr/lib/softhsm/libsofthsm2.so \
        /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so \
        /usr/local/lib/softhsm/libsofthsm2.so; do
        if [ -f "$softhsm_path" ]; then
            echo "$softhsm_path"
            return 0
        fi
    done
    echo "softhsm_token.sh: libsofthsm2.so is not here: install softhsm2" >&2
    return 1
}

# KEY-TYPE USAGE LABEL ID. pkcs11-tool warns that it cannot read the new key's value, rightly.
softhsm_key() {
    pkcs11-tool --module "$SOFTHSM_MODULE" --token-label "$softhsm_label" --login \
        --pin "$softhsm_pin" --keygen --key-type "$1" "$2" --sensitive --private \
        --label "$3" --id "$4" >"$softhsm_folder/keygen.log" 2>&1 && return 0
    cat "$softhsm_folder/keygen.log" >&2
    return 1
}

softhsm_token() {
    softhsm_folder=$1 softhsm_label=$2 softhsm_so_pin=$3 softhsm_pin=$4 softhsm_index=$5

    SOFTHSM_MODULE=$(softhsm_module) || return 1
    mkdir -p "$softhsm_folder/tokens" || return 1
    SOFTHSM2_CONF=$softhsm_folder/softhsm2.conf
    export SOFTHSM2_CONF SOFTHSM_MODULE
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
        "$softhsm_folder" >"$SOFTHSM2_CONF" || return 1

    softhsm2-util --init-token --free --label "$softhsm_label" --so-pin "$softhsm_so_pin" \
        --pin "$softhsm_pin" >/dev/null || return 1
    softhsm_key GENERIC:32 --usage-sign "$softhsm_index/token" 01 &&
        softhsm_key GENERIC:32 --usage-sign "$softhsm_index/centroid" 02 &&
        softhsm_key AES:32 --usage-decrypt "$softhsm_index/payload" 03 &&
        softhsm_key AES:32 --usage-decrypt "$softhsm_index/item" 04 &&
        softhsm_key GENERIC:32 --usage-sign "$softhsm_index/query" 05
}

if [ $# -ne 5 ]; then
    echo "usage: softhsm_token.sh FOLDER TOKEN-LABEL SO-PIN USER-PIN INDEX" >&2
    return 2 2>/dev/null || exit 2
fi
softhsm_token "$@" || { return 1 2>/dev/null || exit 1; }
echo "export SOFTHSM2_CONF='$SOFTHSM2_CONF' SOFTHSM_MODULE='$SOFTHSM_MODULE'"
