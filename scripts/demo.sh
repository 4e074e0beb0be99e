#!/bin/bash
# The main job, end to end, for a reader at a terminal:
#
#   demo.sh BUILD-FOLDER [vault|aws] [--keep]
#
# The word says which server holds the root key, on this machine and as long as the demo; without
# one it is a file. Each step prints the command that it runs, and its result is checked: the exit
# code is 0 only when every step did what its text says.
set -Eeuo pipefail

usage() {
    echo "usage: ./dev demo [vault|aws] [--keep]   --keep leaves the demo's folder where it is" >&2
    exit 2
}

(($# >= 1)) || usage
module=$(realpath "$1/module/indexkey-pkcs11.so")
vector_index=$(realpath "$1/examples/vector-index/vector-index")
indexkey=$(realpath "$1/tools/indexkey")
data=$(realpath examples/vector-index/data)
scripts=$(realpath scripts)
servers=$(realpath tests/servers)
shift
root=file keep=''
if [[ ${1-} == @(vault|aws) ]]; then
    root=$1
    shift
fi
if [[ ${1-} == --keep ]]; then
    keep=1
    shift
fi
(($# == 0)) || usage

folder=$(mktemp -d)
search=''
clean_up() {
    trap '' HUP INT TERM
    [[ -z $search ]] || kill "$search" 2>/dev/null || true
    root_stop || echo "demo.sh: the server of $folder could not be stopped" >&2
    if [[ $keep ]]; then
        echo "The demo's files are in $folder"
    else
        rm -rf "$folder"
    fi
}
. "$scripts/demo-tell.sh"
. "$scripts/demo-$root.sh"
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
cd "$folder"
# Short names, for commands that fit a line.
ln -s "$module" "$vector_index" "$indexkey" "$data" .

# ---- the steps ----

token_and_key() {
    step "The token, made with pkcs11-tool as in any PKCS#11 module (PINs by the environment)."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so \
  --init-token --slot-index 0 --label vectors --so-pin env:SO_PIN'
    must_work
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors --login \
  --login-type so --so-pin env:SO_PIN --init-pin --new-pin env:USER_PIN'
    must_work

    step "An index key, made inside the token. The tool then asks for its value, in vain."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors \
  --login --pin env:USER_PIN --keygen --key-type GENERIC:32 --label packages --id 01'
    must_work

    step "The key is sensitive, was never extractable, and derives only. Beside it are its five" \
        "subkeys, one for each purpose."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors \
  --login --pin env:USER_PIN --list-objects --type secrkey 2>/dev/null'
    must_work
    local label
    for label in packages packages/{token,centroid,payload,item,query}; do
        grep -qE "label: +$label\$" <<<"$output" || fail "the token should list $label"
    done
    grep -qE "Usage: +derive\$" <<<"$output" || fail "the index key should derive only"
    [[ $(grep -c "label:" <<<"$output") == \
        $(grep -cE "Access: +sensitive, .*never extractable" <<<"$output") ]] ||
        fail "every key should be sensitive and never extractable"
}

encrypted_index() {
    local count
    count=$(wc -l <data/packages.tsv)
    step "An encrypted vector index of $count Debian packages, built by an application that knows" \
        "PKCS#11 only: vectors, contents and tokens are encrypted and hashed inside the module."
    run_with_progress './vector-index build $KEYS --db packages.db \
  --vectors data/packages.fvecs --items data/packages.tsv --progress'
    must_work
    must_show "$count records"
}

# The first COUNT vectors of an .fvecs file: each is a 32-bit dimension and its 384 floats.
queries_take() {
    head -c $(($1 * (4 + 384 * 4))) data/queries.fvecs >queries.fvecs
    head -n "$1" data/queries.tsv >queries.tsv
}

questions() {
    queries_take 3
    step "Three questions. Their vectors were embedded beforehand: there is no language model here."
    run './vector-index search $KEYS --db packages.db --probe all --top 5 \
  --query queries.fvecs --query-text queries.tsv'
    must_work
    ./vector-index search $KEYS --db packages.db --query queries.fvecs --query-text queries.tsv \
        --probe all --top 10 --tsv >found.tsv || fail "the search failed"
    head -n 3 data/expected-top10.tsv | cmp -s - found.tsv ||
        fail "the answers differ from those of a search over the plain vectors"
    note "the same ten as a search over the plain vectors gives, checked for each"

    step "Packages like gnuchess: the query vector is decrypted from the index itself."
    run './vector-index search $KEYS --db packages.db --like gnuchess --top 5'
    must_work
    must_show "   5  "

    step "All packages of a section, found by a keyed hash: the database never learns the name."
    run './vector-index search $KEYS --db packages.db --field section=gnome --top 5'
    must_work
    must_show "$(cut -f 2 data/packages.tsv | grep -cx gnome) items"
}

no_plaintext() {
    step "The database holds no plaintext."
    run 'grep -a -c gnuchess data/packages.tsv'
    must_work
    run 'grep -a -c gnuchess packages.db'
    [[ $output == 0 ]] || fail "packages.db should not hold a package's name"
    # A short name may turn up in random bytes; one of eight letters does not.
    cut -f 1 data/packages.tsv | grep -E '.{8}' >names.txt
    ! LC_ALL=C grep -a -q -F -f names.txt packages.db token.db* ||
        fail "names of packages are in the database"
    note "none of the $(wc -l <names.txt) names of eight letters or more is in it"
}

refused_export() {
    step "The key does not come out, whoever asks."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors \
  --login --pin env:USER_PIN --read-object --type secrkey --label packages --output-file stolen.key'
    must_fail
    must_show CKR_ATTRIBUTE_SENSITIVE
    [[ ! -s stolen.key ]] || fail "stolen.key should not exist"
}

# Turns the last bit of a byte of the first answer's embedding; again turns it back.
flip_byte() {
    python3 - "$1" <<'PYTHON'
import sqlite3
import sys

record = int(sys.argv[1])
with sqlite3.connect("packages.db") as database:
    row = database.execute("SELECT sealed FROM embedding WHERE record = ?", (record,)).fetchone()
    sealed = bytearray(row[0])
    sealed[100] ^= 1
    database.execute("UPDATE embedding SET sealed = ? WHERE record = ?", (sealed, record))
PYTHON
}

flipped_byte() {
    local name record
    name=$(head -n 1 found.tsv | cut -f 2 | cut -d , -f 1)
    record=$(($(cut -f 1 data/packages.tsv | grep -nxF "$name" | cut -d : -f 1) - 1))
    step "One bit of one encrypted vector ($name's) is flipped: the search is refused."
    run "flip_byte $record"
    must_work
    run './vector-index search $KEYS --db packages.db --probe all --top 5 --query queries.fvecs'
    must_fail
    must_show "the database was altered"
    [[ ! -s stdout.txt ]] || fail "no answer should be printed"

    step "Flipped back, it answers again."
    run "flip_byte $record"
    must_work
    run './vector-index search $KEYS --db packages.db --like gnuchess --top 1'
    must_work
}

operators_view() {
    step "The operator's view of the token, by the indexkey command."
    run './indexkey keys --pin-env USER_PIN'
    must_work
    must_show "packages"
}

# LINES: the configuration, with these lines to say where the root key is.
configure() {
    cat >indexkey.conf <<CONF
[token vectors]
$1
store = sqlite:$folder/token.db
CONF
    run 'cat indexkey.conf'
    must_work
    export INDEXKEY_CONF=$folder/indexkey.conf
}

SO_PIN=$(openssl rand -hex 8)
USER_PIN=$(openssl rand -hex 8)
KEYS="--module ./indexkey-pkcs11.so --token vectors --index packages"
export SO_PIN USER_PIN VECTOR_INDEX_PIN=$USER_PIN

cat <<TEXT
An encrypted vector index whose keys never leave their PKCS#11 token.

In the demo's folder are links to the module ($module),
to the example application (vector-index), to the indexkey command and to its data.
In the commands below, \$KEYS is
"$KEYS".
TEXT
root_start
root_configure
token_and_key
encrypted_index
questions
no_plaintext
refused_export
flipped_byte
operators_view
root_refuses
printf '\nThe demo ended well: all %d steps did what they say (%d s).\n' "$number" "$SECONDS"
