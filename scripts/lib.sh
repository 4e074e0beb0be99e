# What the scripts share. Sourced with `set -euo pipefail` in force and the tree's root as the
# current folder.

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# ---- packages ----

packages_build=(gcc libc6-dev meson ninja-build pkgconf libssl-dev libsqlite3-dev
    libpq-dev
    libcurl4-openssl-dev libjansson-dev libp11-kit-dev)
packages_demo=("${packages_build[@]}" opensc openssl python3)
packages_servers=(ca-certificates curl openssl python3 python3-venv util-linux)
packages_test=("${packages_demo[@]}" "${packages_servers[@]}" binutils check gdb gnutls-bin
    groff-base man-db libnss3-dev libp11-kit-dev p11-kit postgresql softhsm2 sqlite3 valgrind)
packages_bench=("${packages_build[@]}" libnss3 python3 softhsm2)
packages_check=("${packages_build[@]}" binutils clang-format cppcheck python3)

packages_missing() {
    local name
    for name; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
            printf '%s\n' "$name"
    done
}

# Package lists may be absent (a bare image) or old: they are fetched only when the first try fails.
packages_apt() {
    local apt=("$@")
    local options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300)
    "${apt[@]}" "${options[@]}" install "${missing[@]}" </dev/null && return 0
    say "Fetching the package lists, then once more."
    "${apt[@]}" -q update </dev/null
    "${apt[@]}" "${options[@]}" install "${missing[@]}" </dev/null
}

# NAME...: installs what is missing of them, without a question.
packages_need() {
    local missing apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    if ! command -v dpkg-query apt-get >/dev/null; then
        say "This is not Debian, so nothing is installed here. Needed, by Debian's names: $*"
        return 0
    fi
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    say "Installing Debian packages: ${missing[*]}"
    if ((EUID != 0)); then
        sudo -n true 2>/dev/null ||
            die "packages are missing; run this, then start again:
  su -c 'apt-get update && apt-get install -y --no-install-recommends ${missing[*]}'"
        apt=(sudo -n "${apt[@]}")
    fi
    packages_apt "${apt[@]}" || die "apt-get could not install: ${missing[*]}"
}

# ---- builds ----

build_folder() {
    realpath -m "${INDEXKEY_BUILD:-build}"
}

# FOLDER [-DNAME=VALUE...]: an old folder is configured again only where an option differs.
build_setup() {
    local folder=$1 option changed=()
    shift
    if [[ ! -f $folder/build.ninja ]]; then
        meson setup "$folder" . "$@"
        return
    fi
    for option; do
        option=${option#-D}
        grep -qxF "${option%%=*} = ${option#*=}" "$folder/meson-private/cmd_line.txt" ||
            changed+=("-D$option")
    done
    ((${#changed[@]} == 0)) || meson configure "$folder" "${changed[@]}"
}

build_compile() {
    ninja -C "$1"
}

# FOLDER TARGET...: the module as a user would have it, optimised, and these targets, in silence.
build_release() {
    local folder=$1
    shift
    build_setup "$folder" -Dtests=false -Dbuildtype=release >/dev/null
    ninja -C "$folder" module/indexkey-pkcs11.so "$@" >/dev/null
}

# FOLDER: builds what a user gets, in silence unless it fails. A new folder is one without tests,
# which needs fewer packages; one that has them keeps them.
build_quietly() {
    local log options=()
    log=$(mktemp)
    [[ -f $1/build.ninja ]] || options=(-Dtests=false)
    if ! { build_setup "$1" "${options[@]}" && build_compile "$1"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# FOLDER [MESON TEST ARGUMENT...]: the suite of a folder that is built; the last line tells the
# counts.
suite_run() {
    local folder=$1 result=0
    shift
    rm -f "$folder"/meson-logs/testlog*.json
    meson test -C "$folder" --no-rebuild --print-errorlogs "$@" </dev/null || result=$?
    # One log, whose name tells the wrapper, if any.
    python3 scripts/count-tests.py "$(echo "$folder"/meson-logs/testlog*.json)" "$result"
}

# ---- servers for demo and tests ----

# Those of the tests.
servers=(vault aws azure gcp kmip postgres)

# One of them: builds or installs it, once, into the cache outside the tree, telling how far it is.
server_prepare() {
    case $1 in
    vault) tests/servers/vault.sh build >/dev/null ;;
    aws) tests/servers/aws.sh setup >/dev/null ;;
    azure) tests/servers/azure.sh setup >/dev/null ;;
    gcp) tests/servers/gcp.sh setup >/dev/null ;;
    kmip) tests/servers/kmip.sh setup >/dev/null ;;
    postgres) tests/servers/postgres.sh setup >/dev/null ;;
    esac
}
