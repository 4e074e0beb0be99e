# How the demo tells and checks its steps. Sourced by demo.sh, in the demo's folder's shell.

number=0
step() {
    number=$((number + 1))
    printf '\n%d. %s\n' "$number" "$1"
    shift
    (($# == 0)) || printf '   %s\n' "$@"
}

fail() {
    trap - ERR
    printf '\nThe demo failed at step %d: %s\n' "$number" "$1" >&2
    exit 1
}

trap 'fail "line $LINENO of the script ended with an error"' ERR

# A progress bar that nobody watches is one line: how it ended.
last_states() {
    sed 's/.*\r//'
}

show_command() {
    sed '1s/^/   $ /; 1!s/^/     /' <<<"$1"
}

# COMMAND: shows it and its output, kept in $output; its exit code is $code. On a terminal, stderr
# (warnings, the progress bar) is shown as it comes.
output='' code=0
run() {
    show_command "$1"
    code=0
    eval "$1" >stdout.txt 2>stderr.txt || code=$?
    output=$(last_states <stderr.txt && cat stdout.txt)
    [[ -z $output ]] || sed 's/^/     /' <<<"$output"
}

run_with_progress() {
    if [[ ! -t 2 ]]; then
        run "$1"
        return
    fi
    show_command "$1"
    code=0
    eval "$1" >stdout.txt || code=$?
    output=$(cat stdout.txt)
    sed 's/^/     /' stdout.txt
}

must_work() {
    ((code == 0)) || fail "the command ended with code $code"
}

must_fail() {
    ((code != 0)) || fail "the command should have been refused"
}

must_show() {
    grep -qF -- "$1" <<<"$output" || fail "the output should show: $1"
}

note() {
    printf '   -> %s\n' "$*"
}
