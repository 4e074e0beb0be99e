/*
 * Tokens of four sizes with one KMS (tests/servers/fake_vault.py), for the tests of what must not
 * grow with the number of objects.
 *
 * They are made once, by a child, in files whose sync costs nothing where the system has such a
 * folder; the process of a test has never had the module loaded before.
 */
#pragma once

#include "tests/support/api_fixture.h"

/* Slot i holds scale_sizes[i] index keys: 0, 100, 10,000 and 100,000, or fewer where figures do not
 * count. */
enum { SCALE_NONE, SCALE_FEW, SCALE_SOME, SCALE_MANY, SCALE_COUNT };
extern unsigned int scale_sizes[SCALE_COUNT];

/* Under a sanitizer or valgrind times and sizes say nothing. */
bool scale_figures_count(void);

#define SCALE_LABEL_MAX 32
#define SCALE_ID_LEN 16

/* Unchecked fixtures. */
void scale_setup(void);
void scale_teardown(void);

/* Of key `number`, in each of the tokens: its length; SCALE_ID_LEN bytes. */
size_t scale_label(unsigned int number, char label[SCALE_LABEL_MAX]);
void scale_id(unsigned int number, CK_BYTE id[SCALE_ID_LEN]);

/* The built module, not initialised. */
CK_FUNCTION_LIST *scale_load(void);
/* A read/write session of that slot. */
CK_SESSION_HANDLE scale_session(CK_FUNCTION_LIST *p11, CK_SLOT_ID slot);
void scale_login(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session);
/* Requests that the KMS has seen. */
int scale_kms_calls(void);
/* From here on the configuration names an address that does not answer. */
void scale_lose_kms(void);

/* Runs it in a child of its own; `len` bytes of its result come back. */
typedef void scale_body(void *result);
void scale_in_child(scale_body *body, void *result, size_t len);
