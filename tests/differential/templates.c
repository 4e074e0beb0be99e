#include "tests/differential/templates.h"

#include <string.h>

static const CK_BBOOL yes = CK_TRUE;
static const CK_BBOOL no = CK_FALSE;

static const CK_ATTRIBUTE_TYPE usages[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,  CKA_VERIFY,
                                           CKA_WRAP,    CKA_UNWRAP,  CKA_DERIVE};
#define USAGES (sizeof(usages) / sizeof(usages[0]))

static const CK_ATTRIBUTE_TYPE role_uses[ROLES][2] = {
    [ROLE_HMAC] = {CKA_SIGN, CKA_VERIFY},           [ROLE_CMAC] = {CKA_SIGN, CKA_VERIFY},
    [ROLE_ECB] = {CKA_ENCRYPT, CKA_DECRYPT},        [ROLE_CBC] = {CKA_ENCRYPT, CKA_DECRYPT},
    [ROLE_CTR] = {CKA_ENCRYPT, CKA_DECRYPT},        [ROLE_GCM] = {CKA_ENCRYPT, CKA_DECRYPT},
    [ROLE_WRAP] = {CKA_WRAP, CKA_UNWRAP},           [ROLE_AES_BASE] = {CKA_DERIVE, CKA_DERIVE},
    [ROLE_GENERIC_BASE] = {CKA_DERIVE, CKA_DERIVE}, [ROLE_HKDF_BASE] = {CKA_DERIVE, CKA_DERIVE},
};

const char *object_kind(const struct object *object)
{
    if (object->role == ROLE_DATA)
        return "data";
    switch (object->type) {
    case CKK_AES:
        return "AES key";
    case CKK_GENERIC_SECRET:
        return "generic key";
    case CKK_HKDF:
        return "HKDF key";
    default:
        return "HMAC key";
    }
}

void template_bytes(struct template *template, CK_ATTRIBUTE_TYPE type, const void *bytes,
                    CK_ULONG len)
{
    template->entries[template->count++] = (CK_ATTRIBUTE){type, (void *) bytes, len};
}

void template_bool(struct template *template, CK_ATTRIBUTE_TYPE type, bool value)
{
    template_bytes(template, type, value ? &yes : &no, sizeof(yes));
}

void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    CK_ULONG *place = &template->numbers[template->count];

    *place = value;
    template_bytes(template, type, place, sizeof(*place));
}

void template_label(struct template *template, struct prng *prng)
{
    static const char *const labels[] = {"a", "b", "longer label", "ü", ""};
    const char *label = labels[prng_below(prng, 5)];

    template_bytes(template, CKA_LABEL, label, strlen(label));
}

void template_attach(struct template *template, struct call *call)
{
    call->template = template->entries;
    call->template_count = template->count;
}

/* An imported or unwrapped key may not wrap: policy rule known-keys-do-not-wrap. */
static bool has_use(const struct object *object, CK_ATTRIBUTE_TYPE use)
{
    const CK_ATTRIBUTE_TYPE *uses = role_uses[object->role];

    if (use == CKA_WRAP && strcmp(object->origin, ORIGIN_GENERATED) != 0)
        return false;
    return use == uses[0] || use == uses[1];
}

void template_key(struct template *template, const struct object *object, struct prng *prng)
{
    template_bool(template, CKA_TOKEN, object->owner == NULL);
    template_label(template, prng);
    if (object->role == ROLE_DATA) { /* of HKDF: NSS has no private data */
        template_bool(template, CKA_PRIVATE, false);
        return;
    }
    template_bool(template, CKA_PRIVATE, object->owner == NULL || prng_percent(prng, 70));
    for (size_t i = 0; i < USAGES; i++)
        template_bool(template, usages[i], has_use(object, usages[i]));
    template_bool(template, CKA_SENSITIVE, object->sensitive);
    template_bool(template, CKA_EXTRACTABLE, object->extractable);
}

bool object_opens_others(const struct object *object)
{
    return object->role == ROLE_WRAP || object->role == ROLE_AES_BASE ||
           object->role == ROLE_GENERIC_BASE || object->role == ROLE_HKDF_BASE;
}

/* Policy rules openers-stay-inside and known-keys-do-not-wrap. */
static void keep_inside(struct object *object)
{
    if (object->role == ROLE_WRAP && strcmp(object->origin, ORIGIN_GENERATED) == 0)
        object->sensitive = true;
    if (object->sensitive && object_opens_others(object))
        object->extractable = false;
}

static CK_ULONG aes_len(struct prng *prng)
{
    return 16 + 8 * prng_below(prng, 3);
}

void object_choose(struct object *object, enum role role, const char *origin, struct prng *prng)
{
    memset(object, 0, sizeof(*object));
    object->role = role;
    object->type = CKK_AES;
    object->len = aes_len(prng);
    object->sensitive = prng_percent(prng, 20);
    object->extractable = role == ROLE_PAYLOAD || prng_percent(prng, 75);
    object->origin = origin;
    switch (role) {
    case ROLE_HMAC:
        object->type = prng_percent(prng, 90) ? CKK_GENERIC_SECRET : CKK_SHA256_HMAC;
        object->len = prng_percent(prng, 92) ? 64 + prng_below(prng, 40) : 1 + prng_below(prng, 63);
        break;
    case ROLE_GENERIC_BASE:
        object->type = CKK_GENERIC_SECRET;
        object->len = 16 + prng_below(prng, 49);
        break;
    case ROLE_HKDF_BASE:
        object->type = prng_percent(prng, 50) ? CKK_GENERIC_SECRET : CKK_HKDF;
        object->len = 16 + prng_below(prng, 49);
        break;
    case ROLE_PAYLOAD:
        if (prng_percent(prng, 50))
            break;
        object->type = CKK_GENERIC_SECRET;
        object->len = 16 + 8 * prng_below(prng, 5);
        break;
    case ROLE_WRAP:
        object->len = prng_percent(prng, 75) ? 32 : aes_len(prng);
        break;
    default:
        break;
    }
    keep_inside(object);
}
