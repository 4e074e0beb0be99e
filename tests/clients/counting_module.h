/* What tests/clients/counting_module.c counts. */
#pragma once

struct counted_calls {
    unsigned long message_encrypt_init;
    unsigned long message_decrypt_init;
    unsigned long encrypt_message;
    unsigned long decrypt_message;
    unsigned long encrypt_init;
    unsigned long decrypt_init;
};

/* By dlsym from the library that the client has loaded. */
struct counted_calls counting_module_calls(void);
