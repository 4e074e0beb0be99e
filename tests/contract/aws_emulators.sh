#!/bin/bash
# `source = aws` against an emulator of AWS KMS that lives as long as the test.
#
#   aws_emulators.sh TEST_SOURCE_AWS_EMULATORS moto|ministack [ARGUMENT...]
#
# 77: the emulators cannot be had here.
set -euo pipefail

program=$1
emulator=$2
servers=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../servers
folder=$(mktemp -d)
trap '"$servers/aws.sh" stop "$folder" || true; rm -rf "$folder"' EXIT

if ! "$servers/aws.sh" setup >/dev/null; then
    echo "aws_emulators.sh: skipped: $emulator could not be installed: see above"
    exit 77
fi
"$servers/aws.sh" start "$emulator" "$folder"
INDEXKEY_AWS_FOLDER=$folder "$program" "$emulator" "${@:3}"
