# The demo's root key in a file. Sourced by demo.sh.

root_start() {
    step "A root key. It wraps the token's keys. Here it is a file, which only its owner may read."
    run 'umask 077; openssl rand -base64 32 > root.key'
    must_work
    [[ $(stat -c %a root.key) == 600 ]] || fail "root.key should have mode 600"
}

root_configure() {
    step "The configuration: one token, its root key, its store."
    configure "source = file
key_file = $folder/root.key"
}

# Whoever may read the file has the key.
root_refuses() {
    :
}

root_stop() {
    :
}
