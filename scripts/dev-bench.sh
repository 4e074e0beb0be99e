#!/bin/bash
# Builds with optimisation in a folder of its own and measures:
#
#   dev-bench.sh [--save] [--only WORK] [--rounds N] [--json FILE] [--svg FILE]
#
# The figures and the chart go to that folder; with --save to docs/, where the table of
# docs/performance.md is written anew too.
set -euo pipefail
. scripts/lib.sh

save=false json='' svg='' arguments=()
while (($#)); do
    case $1 in
    --save) save=true ;;
    --json | --svg)
        (($# > 1)) || die "$1 needs a file"
        declare "${1#--}=$(realpath -m "$2")"
        shift
        ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
# Half a table is not what docs/ shows.
[[ $save == false || ${#arguments[@]} == 0 ]] || die "--save is for all works and rounds"

packages_need "${packages_bench[@]}"
build=$(build_folder)-bench
build_release "$build" bench/bench
if $save; then
    folder=docs
else
    folder=$build
fi
json=${json:-$folder/performance.json}
svg=${svg:-$folder/performance.svg}
"$build/bench/bench" --json "$json" "${arguments[@]}" "$build/module/indexkey-pkcs11.so"
python3 scripts/bench-report.py "$json" --svg "$svg"
if $save; then
    python3 scripts/bench-report.py "$json" --table docs/performance.md
fi
say
say "Figures: $json"
say "Chart: $svg"
