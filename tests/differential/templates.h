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

/* Usage, sensitivity, label: what every key's template names, so that no default decides. */
void template_key(struct template *template, const struct object *object, struct prng *prng);

#define ORIGIN_CREATED "created"
#define ORIGIN_GENERATED "generated"
#define ORIGIN_DERIVED "derived"
#define ORIGIN_UNWRAPPED "unwrapped"
#define ORIGIN_COPIED "copied"

/* Wraps, unwraps or derives. */
bool object_opens_others(const struct object *object);

/* A key's kind for the role: type, length, sensitivity. `origin` is a constant: ORIGIN_*. */
void object_choose(struct object *object, enum role role, const char *origin, struct prng *prng);
