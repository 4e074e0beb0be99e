#!/bin/bash
# Runs test_calls against a real server that lives as long as the test.
#
#   test_calls.sh vault|aws TEST_CALLS
#
# 77: the server is not installed.
set -euo pipefail

. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../support/source_server.sh"

folder=$(mktemp -d)
trap 'source_stop; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

source_start "$1" "$folder/server"
printf '[token vectors]\n%s\nstore = sqlite:%s\nsubkeys = none\n' "$(source_section)" \
    "$folder/token.db" >"$folder/indexkey.conf"

# What the C program asks, in a process of its own.
asks() {
    printf 'exec bash %q %s %q' "$source_servers/$source_kind.sh" "$1" "$source_folder"
}
INDEXKEY_CONF=$folder/indexkey.conf INDEXKEY_COUNT=$(asks count) \
    INDEXKEY_CONNECTIONS=$(asks connections) "$2"
