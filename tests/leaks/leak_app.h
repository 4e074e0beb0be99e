/* What test_leaks.c tells leak_app.c on its standard input: first this struct, then commands. */
#pragma once

#define LEAK_PIN_LEN 16
#define LEAK_KEY_LEN 32
#define LEAK_LABEL "leak"

struct leak_input {
    unsigned char so_pin[LEAK_PIN_LEN];
    unsigned char user_pin[LEAK_PIN_LEN];
    unsigned char index_key[LEAK_KEY_LEN];
    /* Kept on the heap on purpose: a scan that does not find it has not looked. */
    unsigned char canary[LEAK_KEY_LEN];
};

/* One byte each. The application answers each with a line, and says "busy" before the first. */
enum leak_command {
    LEAK_ABORT = 'a',    /* dies by SIGABRT; no answer */
    LEAK_FORK = 'f',     /* a child makes one C_* call and says "child PID"; waits for LEAK_GO_ON */
    LEAK_GO_ON = 'g',    /* to that child, which ends; the parent says "alone" */
    LEAK_LOGOUT = 'o',   /* the threads end their operations; C_Logout; "out" */
    LEAK_FINALIZE = 'z', /* C_Finalize; "finalized" */
    LEAK_QUIT = 'q',     /* exits with 0; no answer */
};
