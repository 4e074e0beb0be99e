# What the server scripts share. Sourced by bash with `set -euo pipefail` in force; `here` is the
# folder of these scripts.

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

cache_folder() {
    local folder=${INDEXKEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/indexkey}
    mkdir -p "$folder"
    realpath "$folder"
}

# FILE: one caller at a time from here to the end of the shell, which must be a subshell.
lock_take() {
    local start=$SECONDS
    exec 9>"$1"
    flock --nonblock 9 && return 0
    say "another run holds $1: waiting for it"
    until flock --timeout 30 9; do
        say "waiting for it, $((SECONDS - start)) s"
    done
}

# PID LOG: waits for a child, with a line each 30 s; its output is shown only if it fails. A shell
# that is interrupted takes the child along.
progress_wait() {
    local pid=$1 log=$2 start=$SECONDS next=30 last result=0
    trap "kill $pid 2>/dev/null" EXIT
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        ((SECONDS - start < next)) && continue
        last=$(tail -n 1 "$log")
        say "$next s, $(wc -l <"$log") lines of log: ${last:0:60}"
        next=$((next + 30))
    done
    wait "$pid" || result=$?
    trap - EXIT
    ((result == 0)) || tail -n 40 "$log" >&2
    return "$result"
}

# LOG WHAT COMMAND...: in a shell that has no EXIT trap of its own.
progress_run() {
    local log=$1 what=$2
    shift 2
    say "$what"
    "$@" >"$log" 2>&1 &
    progress_wait $! "$log"
}

# Somebody may take it before the server does: the server then ends, and its caller sees that.
port_free() {
    python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

# FOLDER NAME COMMAND...: starts a server in a session of its own, with its output in
# FOLDER/NAME.log and its process in FOLDER/NAME.pid. The lock of lock_take must not live on in it.
process_start() {
    local folder=$1 name=$2
    shift 2
    setsid "$@" >>"$folder/$name.log" 2>&1 </dev/null 9>&- &
    # The start time, field 22, tells the process from a later one with the same number.
    printf '%s %s\n' $! "$(process_birth $!)" >"$folder/$name.pid"
}

process_birth() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# FOLDER NAME
process_alive() {
    local pid birth
    [[ -f $1/$2.pid ]] && read -r pid birth <"$1/$2.pid" && [[ -n $birth ]] &&
        [[ $(process_birth "$pid") == "$birth" ]] &&
        [[ $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c 1) != Z ]]
}

# FOLDER NAME: ends that process and no other; killed if it has not ended after 10 s.
process_stop() {
    local folder=$1 name=$2 pid tries=0
    if process_alive "$folder" "$name"; then
        read -r pid _ <"$folder/$name.pid"
        kill "$pid"
        while process_alive "$folder" "$name"; do
            ((++tries <= 100)) || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.1
        done
    fi
    rm -f "$folder/$name.pid"
}

# FOLDER NAME COMMAND...: until the command succeeds, 60 s at most and while the process lives; one
# that is not ready then is stopped.
process_ready() {
    local folder=$1 name=$2 tries=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! process_alive "$folder" "$name" || ((++tries > 1200)); then
            tail -n 20 "$folder/$name.log" >&2
            say "$name did not start: see $folder/$name.log"
            process_stop "$folder" "$name"
            return 1
        fi
        sleep 0.05
    done
}

# FOLDER: FOLDER/tls, by certificates.sh.
certificates_make() {
    [[ -f $1/tls/server.pem ]] || bash "$here/certificates.sh" "$1/tls" ||
        die "openssl made no certificates in $1/tls"
}

# FOLDER VERSIONED-PACKAGE...: a virtual environment with these packages, made at the first need;
# another list of packages is another environment.
venv_make() {
    local folder=$1
    shift
    (
        lock_take "$folder.lock"
        [[ $(cat "$folder/packages" 2>/dev/null) != "$*" ]] || exit 0
        rm -rf "$folder"
        python3 -m venv "$folder" || die "python3 -m venv failed: install python3-venv"
        progress_run "$folder/pip.log" "installing $*" "$folder/bin/pip" install \
            --disable-pip-version-check --progress-bar off "$@" || die "pip failed: see above"
        printf '%s\n' "$*" >"$folder/packages"
    )
}

# NAME setup|run [COMMAND...]: the whole of a script that only provides the Python of `packages`.
venv_main() {
    local name=$1 verb=${2-} folder
    shift
    [[ $verb == setup || $verb == run ]] || {
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$here/$name.sh" >&2
        exit 2
    }
    shift
    folder=$(cache_folder)/$name
    if (venv_make "$folder" "${packages[@]}"); then
        [[ $verb == run ]] || printf '%s/bin/python3\n' "$folder"
    else
        [[ $verb == run ]] || exit 1
        say "skipped: the packages could not be installed: see above"
        exit 77
    fi
    [[ $verb == setup ]] || PATH="$folder/bin:$PATH" exec "$@"
}
