#!/bin/bash
# Runs the cells of every source at its server (source_matrix.h), and prints them as one table.
#
#   source_matrix.sh SOURCE_MATRIX [custody]
#
# Fails when a cell is missing, or came out wrong. 77: a server cannot be had here.
set -euo pipefail

program=$(realpath "$1")
run=${2:-}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cells=$(mktemp)
trap 'rm -f "$cells"' EXIT
failed=0

# ADAPTER COMMAND...: which ends with the program.
row() {
    local adapter=$1 begin=$SECONDS result=0
    shift
    [[ -z $run ]] || set -- "$@" "$run"
    echo "== $adapter"
    "$@" | tee -a "$cells" || result=$?
    echo "== $adapter: $((SECONDS - begin)) s, status $result"
    ((result != 77)) || exit 77
    ((result == 0)) || failed=1
}

row file "$program" file
row env "$program" env
row vault "$program" vault
# What the one AWS emulator lacks another has; of the acts moto has all.
[[ $run == custody ]] || row ministack "$here/aws_emulators.sh" "$program" ministack
row moto "$here/aws_emulators.sh" "$program" moto
[[ $run == custody ]] || row fake-aws "$program" fake-aws
row gcp "$here/../servers/gcp.sh" run "$program" gcp
row azure "$here/../servers/azure.sh" run "$program" azure
row kmip "$here/kmip_real.sh" "$program" kmip
row hsm "$here/../examples/on_softhsm.sh" "$program" hsm

python3 - "$cells" "$run" <<'PYTHON' || failed=1
import sys

CELLS = ("init", "login", "wrong credential", "denied", "disabled", "deleted", "rotated",
         "rewrapped", "tampered blob", "wrong context",
         "throttled", "unreachable", "wrong CA", "slow")
ACTS = ("key rotation", "rewrap", "token key rotation", "shred", "suspend", "resume", "deactivate",
        "destroy", "undelete", "backup and restore")
SOURCES = ("file", "env", "vault", "aws", "gcp", "azure", "kmip", "hsm")
# What a service may have no such thing as.
MAY_LACK = {
    "file": {"disabled", "rotated", "throttled", "unreachable", "wrong CA", "slow"},
    "env": {"denied", "disabled", "rotated", "throttled", "unreachable", "wrong CA", "slow"},
    "kmip": {"throttled"},
    "hsm": {"wrong CA"},
}

if sys.argv[2] == "custody":
    CELLS = ACTS
seen, servers, lacking, wrong = {}, {}, {}, []
for line in open(sys.argv[1], encoding="utf-8"):
    if not line.startswith("cell|"):
        continue
    _, source, cell, mark, server, _, _, text = line.rstrip("\n").split("|", 7)
    if (source, cell) in seen:
        wrong.append(f"{source}, {cell}: twice")
    seen[source, cell] = mark
    if mark == "n/a":
        lacking.setdefault((source, text), []).append(cell)
        if cell not in MAY_LACK.get(source, ()):
            wrong.append(f"{source}, {cell}: n/a, where the service has such a thing")
    else:
        servers.setdefault((source, server), []).append(cell)
for source in SOURCES:
    for cell in CELLS:
        if seen.setdefault((source, cell), "WRONG") == "WRONG":
            wrong.append(f"{source}, {cell}: failed, or not run")

print(f"\n{'':18}", *(f"{source:>6}" for source in SOURCES))
for cell in CELLS:
    print(f"{cell:18}", *(f"{seen[source, cell]:>6}" for source in SOURCES))
print("\nok: a real server or emulator; ok*: a fake answers; n/a: there is no such thing\n")
for (source, server), cells in servers.items():
    print(f"{source} at {server}: {', '.join(cells)}")
for (source, text), cells in lacking.items():
    print(f"{source}, n/a: {', '.join(cells)}: {text}")
print(*(f"wrong: {text}" for text in wrong), f"{len(seen)} cells, {len(wrong)} wrong", sep="\n")
sys.exit(1 if wrong else 0)
PYTHON
exit "$failed"
