/*
 * Keys and derivations for tests of C_DeriveKey. Everything is a session object, and a failing step
 * fails the running test.
 */
#pragma once

#include "tests/support/api_fixture.h"

/* What becomes of a key's secret. */
enum key_kind {
    KEY_GENERATED, /* sensitive, not extractable, from C_GenerateKey */
    KEY_OPEN,      /* readable: C_GenerateKey too */
    KEY_IMPORTED,  /* sensitive, not extractable, from C_CreateObject */
    KEY_KINDS
};

/* A key that derives, of 32 bytes; KEY_IMPORTED has the value 00 01 02 … */
CK_OBJECT_HANDLE derive_base(struct api *api, enum key_kind kind, CK_KEY_TYPE type);
/* A readable key that derives, with this value. */
CK_OBJECT_HANDLE derive_open_base(struct api *api, CK_KEY_TYPE type, const void *value,
                                  CK_ULONG len);

/* A template that grows. */
struct template
{
    CK_ATTRIBUTE entries[16];
    CK_ULONG numbers[16];
    CK_BBOOL flags[16];
    CK_ULONG count;
};
void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, CK_BBOOL value);
/* Generic secret of `len` bytes (0: not said), readable. */
struct template *template_open(struct template *template, CK_KEY_TYPE type, CK_ULONG len);

/* Generic secret of 32 bytes: says nothing of secrecy (0), readable (1), not (2). */
struct template *template_said(struct template *template, int said);

/* C_DeriveKey; `ret_key` may be NULL. After a failure nothing is there that was not before. */
CK_RV derive_with(struct api *api, CK_MECHANISM mechanism, CK_OBJECT_HANDLE base,
                  struct template *template, CK_OBJECT_HANDLE *ret_key);
/* Both readable, and the same value. */
void derive_expect_value(struct api *api, CK_OBJECT_HANDLE key, const void *wanted, CK_ULONG len);
CK_ULONG derive_value(struct api *api, CK_OBJECT_HANDLE key, CK_BYTE out[512]);
CK_BBOOL derive_flag(struct api *api, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type);
/* The log has a line with this text. */
bool derive_logged(const struct api *api, const char *text);
