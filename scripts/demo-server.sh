# The end of the demo where a server holds the root key: the key is disabled there, and the token
# refuses. Sourced by demo-vault.sh and demo-aws.sh, which say how a server does it.

lease_s=2

one_login_one_call() {
    local before
    before=$(key_uses)
    step "What the server saw: a login is one call, whatever the token holds."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors \
  --login --pin env:USER_PIN --list-objects --type secrkey 2>/dev/null | grep -c label:'
    must_work
    [[ $output == 6 ]] || fail "the token should list six keys"
    (($(key_uses) - before == 1)) || fail "the login should have called $server_name once"
    note "six keys, one call to $server_name; $(key_uses) since the demo began"
}

# One line: the question and the first of its thousand packages.
next_answers() {
    local line
    IFS= read -r line <&3
    printf '%.72s…\n' "$line"
}

search_starts() {
    step "An application at work: a search for 20 questions, a thousand packages each. Its reader" \
        "takes the answers one by one, and so the search waits, logged in."
    mkfifo answers
    queries_take 20
    run './vector-index search $KEYS --db packages.db --probe all --top 1000 --tsv \
  --query queries.fvecs --query-text queries.tsv >answers 2>search.log & search=$!; exec 3<answers'
    must_work
    run 'next_answers; next_answers'
    must_work
}

search_refused() {
    local answers result=0
    step "The lease is over ($lease_s s), and the search that runs is refused: what was on its" \
        "way arrives; then the module asks $server_name, is denied, and wipes its keys."
    run "sleep $lease_s; wc -l <&3"
    must_work
    answers=$((output + 2))
    exec 3<&-
    wait "$search" || result=$?
    search=''
    ((result == 1)) || fail "the search should have been refused; it ended with code $result"
    ((answers < 20)) || fail "the search should not have answered everything"
    run 'cat search.log'
    must_show "$refusal"
    must_show "its source refused to renew the lease"
    note "$answers of 20 questions were answered"
}

login_refused() {
    step "A new login is refused. The log names the cause, and what to do."
    run 'pkcs11-tool --module ./indexkey-pkcs11.so --token-label vectors \
  --login --pin env:USER_PIN --list-objects'
    must_fail
    must_show "$refusal"
    must_show "C_Login failed: rv = CKR_FUNCTION_FAILED"
}

root_refuses() {
    one_login_one_call
    search_starts
    key_disable
    search_refused
    login_refused
}

root_stop() {
    [[ ! -d $folder/server ]] || "$servers/$root.sh" stop "$folder/server"
}
