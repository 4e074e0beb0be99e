#!/bin/bash
# Builds with optimisation in a folder of its own and prints the ratios of bench/.
set -euo pipefail
. scripts/lib.sh

packages_need "${packages_build[@]}"
build=$(build_folder)-bench
build_setup "$build" -Dtests=false -Dbuildtype=release >/dev/null
ninja -C "$build" module/indexkey-pkcs11.so bench/bench >/dev/null
"$build/bench/bench" "$build/module/indexkey-pkcs11.so"
