/* Templates with their values. A template points into itself: it is never copied. */
#pragma once

#include "tests/differential/run.h"

#define TEMPLATE_MAX 24
#define VALUE_MAX 160

struct template
{
    CK_ATTRIBUTE entries[TEMPLATE_MAX];
    CK_ULONG count;
    CK_ULONG numbers[TEMPLATE_MAX];
    unsigned char value[VALUE_MAX];
    CK_ULONG value_len;
};

void template_bool(struct template *template, CK_ATTRIBUTE_TYPE type, bool value);
void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
/* The bytes are the caller's and stay. */
void template_bytes(struct template *template, CK_ATTRIBUTE_TYPE type, const void *bytes,
                    CK_ULONG len);
void template_label(struct template *template, struct prng *prng);
void template_attach(struct template *template, struct call *call);

enum origin { ORIGIN_CREATED, ORIGIN_GENERATED, ORIGIN_DERIVED, ORIGIN_UNWRAPPED };

/* Usage, sensitivity, label: what every key's template names, so that no default decides. */
void template_key(struct template *template, const struct object *object, enum origin origin,
                  struct prng *prng);

/* A key's kind for the role: type, length, sensitivity. */
void object_choose(struct object *object, enum role role, struct prng *prng);
const char *role_name(enum role role);
