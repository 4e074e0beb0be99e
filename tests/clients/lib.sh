# What the tests of foreign clients share: a folder with a configuration, steps, and what a step may
# demand of a client's answer. Sourced by bash scripts that have `set -euo pipefail` in force.
#
#   client_setup         makes the folder, which goes at the end, and configures two tokens
#   step WHAT            ends the step before with `ok N - WHAT` and begins the next
#   works COMMAND…       runs it; its exit code must be 0
#   refused COMMAND…     runs it; its exit code must not be 0, and no signal may have ended it
#   shows LINE…          each extended regular expression matches a line of the last output
#   hides LINE…          none of them does
#   same FILE FILE       the bytes are equal, and are some
#   steps_end            ends the last step
#
# The first demand that is not met ends the test with the whole transcript.

MODULE=${INDEXKEY_MODULE:?INDEXKEY_MODULE must name the built module}

# Exit code 77 (skipped) where a client is not installed.
clients_need() {
    local name
    for name; do
        command -v "$name" >/dev/null && continue
        echo "skipped: $name is not installed" >&2
        exit 77
    done
}

# NAME SLOT MORE: one token section, whose root key and store have the token's name.
client_token_section() {
    (umask 077 && openssl rand -base64 32 >"$folder/$1.key")
    printf '[token %s]\nslot = %s\nsource = file\nkey_file = %s\nstore = sqlite:%s\n%s\n' \
        "$1" "$2" "$folder/$1.key" "$folder/$1.db" "$3"
}

client_setup() {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    cd "$folder"
    {
        printf '[module]\nlog = stderr:warning\n'
        client_token_section vectors 3 ''
        client_token_section files 8 'aes_default = cbc'
    } >indexkey.conf
    export INDEXKEY_CONF=$folder/indexkey.conf
    : >transcript
}

step_number=0 step_what=''
step() {
    step_end
    step_number=$((step_number + 1))
    step_what=$1
    printf '\n# %s\n' "$1" >>transcript
}

step_end() {
    [[ -z $step_what ]] || printf 'ok %d - %s\n' "$step_number" "$step_what"
}

steps_end() {
    step_end
    printf '1..%d\n' "$step_number"
}

fail() {
    cat transcript
    printf 'not ok %d - %s: %s\n' "$step_number" "$step_what" "$1"
    exit 1
}

trap 'fail "line $LINENO of the script ended with an error"' ERR
set -E

output='' code=0
run() {
    code=0
    output=$("$@" 2>&1 </dev/null) || code=$?
    printf '$ %s\n%s\n=> %d\n' "$*" "$output" "$code" >>transcript
}

works() {
    run "$@"
    ((code == 0)) || fail "the command ended with code $code"
}

refused() {
    run "$@"
    ((code != 0)) || fail "the command should have been refused"
    ((code < 128)) || fail "the command was ended by signal $((code - 128))"
}

shows() {
    local line
    for line; do
        grep -qE -- "$line" <<<"$output" || fail "the output should have a line: $line"
    done
}

hides() {
    local line
    for line; do
        ! grep -qE -- "$line" <<<"$output" || fail "the output should have no line: $line"
    done
}

same() {
    [[ -s $1 ]] || fail "$1 is empty"
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}
