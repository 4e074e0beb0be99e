/*
 * The rows of the states test: C_* functions by kind, mechanisms, keys and data.
 */
#pragma once

#include "tests/api/state_machine.h"

#define OPERATIONS_ALL_FLAGS                                                                       \
    (CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_VERIFY | CKF_FIND_OBJECTS |           \
     CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY)
#define OPERATIONS_KEY_LEN 32
#define OPERATIONS_FOUND 3 /* objects that a search finds */

/* The token of the running test. */
extern struct api states_api;
extern const CK_BYTE operations_key_value[OPERATIONS_KEY_LEN];

/* state_rows.c */
extern const struct machine_row operations_rows[];
extern const size_t operations_count;
/* What one call in the other session gives for the same input, by a function that has no parts and
 * no messages. Returns its length. */
CK_ULONG operations_reference(const struct machine *machine, CK_BYTE *in, CK_ULONG len,
                              CK_BYTE *out);

/* Messages (state_messages.c): the IV is the caller's, or the key's counter. */
extern CK_GCM_MESSAGE_PARAMS messages_own_iv;
extern CK_GCM_MESSAGE_PARAMS messages_counted_iv;
bool messages_present(void);
/* The counter of the IVs goes up by one a message, whatever came between. */
void messages_check_counter(void);
CK_ULONG messages_make_text(struct machine *machine);
CK_ULONG messages_reference(const struct machine *machine, CK_BYTE *in, CK_ULONG len, CK_BYTE *out);
/* The functions of each kind; those of messages are in state_messages.c. */
extern const struct machine_driver operations_encrypt;
extern const struct machine_driver operations_decrypt;
extern const struct machine_driver operations_digest;
extern const struct machine_driver operations_sign;
extern const struct machine_driver operations_verify;
extern const struct machine_driver operations_verify_signature;
extern const struct machine_driver operations_find;
extern const struct machine_driver messages_encrypt;
extern const struct machine_driver messages_decrypt;
extern const struct machine_driver messages_sign;
extern const struct machine_driver messages_verify;

/* Whether the module has the row's mechanism and functions. */
bool operations_present(const struct machine_row *row);

/* machine->other, and the keys of the calls in between. */
void operations_open(struct machine *machine);
/* Closes machine->other, which ends its objects, and opens another. */
CK_RV operations_change_owner(struct machine *machine);
/* Whether C_GetOperationState is served. */
bool operations_save_states(void);
/* A private session object of machine->other: gone after a logout. The key that C_DigestKey takes
 * and the objects that a search finds are public. */
CK_OBJECT_HANDLE operations_make_key(const struct machine *machine);
/* The input of the row's operation, from machine->plain to machine->text. Returns its length. */
CK_ULONG operations_make_text(struct machine *machine);
/* The row's MAC in the other session; zeros when the key is gone. Returns its length. */
CK_ULONG operations_mac(const struct machine *machine, CK_BYTE *in, CK_ULONG len, CK_BYTE *out);
CK_RV operations_digest_key(const struct machine *machine, bool good);
/* Each other kind's operation from beginning to end in the session: the first failure, or CKR_OK.
 */
CK_RV operations_others(const struct machine *machine);
/* A call to each other kind, which was not begun: what they all return. */
CK_RV operations_others_idle(const struct machine *machine);
