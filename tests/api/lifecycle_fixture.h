/*
 * For the tests of the life cycle: a token with a key of each kind, what comes of them, and every
 * use of each. The module is part of the test program, so that admin_* functions and clocks can be
 * reached.
 */
#pragma once

#include "module/admin.h"
#include "tests/support/api_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern struct api api;

enum use {
    USE_ENCRYPT,
    USE_DECRYPT,
    USE_SIGN,
    USE_VERIFY,
    USE_WRAP,
    USE_UNWRAP,
    USE_DERIVE,
    USE_MESSAGE_ENCRYPT,
    USE_MESSAGE_DECRYPT,
    USE_MESSAGE_SIGN,
    USE_MESSAGE_VERIFY,
    USE_VERIFY_SIGNATURE,
    USES
};
extern const char *const use_names[USES];

/* What a subject is. */
enum form { FORM_CIPHER, FORM_MAC, FORM_WRAPS, FORM_INDEX, FORM_DERIVES };

struct subject {
    const char *name;
    enum form form;
    bool searches; /* signs for searches even when it is deactivated */
    CK_OBJECT_HANDLE key;
};

/* The token keys that are governed, by label; subkeys and session keys follow one of them. */
enum governor {
    GOVERNOR_INDEX,
    GOVERNOR_AES,
    GOVERNOR_MAC,
    GOVERNOR_WRAP,
    GOVERNOR_PLAIN,
    GOVERNORS
};
extern const char *const governor_labels[GOVERNORS];
#define SUBJECTS_MAX 16

/* In the running token; found again by label after a restart. */
void lifecycle_make_keys(void);
CK_OBJECT_HANDLE lifecycle_governor(enum governor governor);
/* The governor, its subkey objects, and session keys copied and derived from it, made now. */
size_t lifecycle_subjects(enum governor governor, struct subject subjects[SUBJECTS_MAX]);

/* False when a subject of its form has no such use. */
bool lifecycle_has_use(const struct subject *subject, enum use use);
/* Begins the use and cancels it; what it makes is destroyed. */
CK_RV lifecycle_use(const struct subject *subject, enum use use);
/* What the rules of docs/life-cycle.md say. */
CK_RV lifecycle_wanted(const struct subject *subject, enum use use, CK_ULONG state);
/* Tries every use of every subject. */
void lifecycle_expect(const struct subject *subjects, size_t count, CK_ULONG state,
                      const char *when);

CK_ULONG lifecycle_number(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type);
void lifecycle_set_state(CK_OBJECT_HANDLE key, CK_ULONG state);

/* AES-GCM with an IV of zeros and a number; `text` has 32 bytes, `out` 48. */
CK_RV lifecycle_encrypt(CK_OBJECT_HANDLE key, CK_BYTE number, const CK_BYTE *text, CK_BYTE *out);
/* True when it opens as `text`. */
bool lifecycle_decrypts(CK_OBJECT_HANDLE key, CK_BYTE number, const CK_BYTE *sealed,
                        const CK_BYTE *text);
/* Finds one object; 0: none. More than one fails the test. */
CK_OBJECT_HANDLE lifecycle_find(const char *label);
