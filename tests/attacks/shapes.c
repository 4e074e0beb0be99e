#include "tests/attacks/shapes.h"

#include <string.h>

#include "tests/support/api_fixture.h"

#define B(flag) FLAG_BIT(FLAG_##flag)
#define CIPHER (B(ENCRYPT) | B(DECRYPT))
#define LIST(array)                                                                                \
    {                                                                                              \
        (array), sizeof(array) / sizeof((array)[0])                                                \
    }

/* Keys that the attacker knows. */
static const struct shape create[] = {
    {.name = "a known AES cipher", .type = CKK_AES, .yes = CIPHER, .value = 1},
    {.name = "a known wrapping key", .type = CKK_AES, .yes = B(WRAP), .value = 1},
    {.name = "a known unwrapping key", .type = CKK_AES, .yes = B(UNWRAP), .value = 1},
    {.name = "a known derivation base",
     .type = CKK_GENERIC_SECRET,
     .yes = B(DERIVE) | B(EXTRACTABLE),
     .no = B(SENSITIVE),
     .value = 2},
    {.name = "a known key under a subkey's label",
     .type = CKK_GENERIC_SECRET,
     .yes = B(TOKEN) | B(SIGN),
     .label = "victim/token",
     .value = 1},
    {.name = "a known trusted wrapping key",
     .type = CKK_AES,
     .yes = B(WRAP) | B(TRUSTED),
     .value = 1},
};

/* Keys that nobody knows, for the attacker to use. */
static const struct shape generate[] = {
    {.name = "WRAP, UNWRAP", .type = CKK_AES, .len = 32, .yes = B(WRAP) | B(UNWRAP)},
    {.name = "WRAP, DECRYPT", .type = CKK_AES, .len = 32, .yes = B(WRAP) | B(DECRYPT)},
    {.name = "WRAP, ENCRYPT", .type = CKK_AES, .len = 32, .yes = B(WRAP) | B(ENCRYPT)},
    {.name = "UNWRAP, ENCRYPT", .type = CKK_AES, .len = 32, .yes = B(UNWRAP) | B(ENCRYPT)},
    {.name = "DERIVE", .type = CKK_GENERIC_SECRET, .len = 32, .yes = B(DERIVE)},
    {.name = "AES DERIVE", .type = CKK_AES, .len = 32, .yes = B(DERIVE)},
};

static const struct shape derive[] = {
    {.name = "readable",
     .type = CKK_GENERIC_SECRET,
     .len = 32,
     .yes = B(EXTRACTABLE),
     .no = B(SENSITIVE)},
    {.name = "SIGN", .type = CKK_GENERIC_SECRET, .len = 32, .yes = B(SIGN)},
    {.name = "SIGN, as long as it comes", .type = CKK_GENERIC_SECRET, .yes = B(SIGN)},
    {.name = "one byte, DERIVE",
     .type = CKK_GENERIC_SECRET,
     .len = 1,
     .yes = B(DERIVE),
     .of_target = true},
    {.name = "DERIVE", .type = CKK_GENERIC_SECRET, .len = 32, .yes = B(DERIVE)},
    {.name = "DERIVE, for derivation bases",
     .type = CKK_GENERIC_SECRET,
     .len = 32,
     .yes = B(DERIVE),
     .derives = true,
     .of_target = true},
    {.name = "AES cipher", .type = CKK_AES, .len = 32, .yes = CIPHER},
    {.name = "AES WRAP", .type = CKK_AES, .len = 32, .yes = B(WRAP)},
    {.name = "AES DECRYPT", .type = CKK_AES, .len = 32, .yes = B(DECRYPT)},
    {.name = "one byte", .type = CKK_GENERIC_SECRET, .len = 1, .yes = B(SIGN), .of_target = true},
    {.name = "guess", .type = CKK_GENERIC_SECRET, .len = 32, .of_target = true, .is_guess = true},
    {.name = "data", .type = UNSAID, .len = 32, .of_target = true, .is_data = true},
};

static const struct shape unwrap[] = {
    {.name = "readable", .type = CKK_GENERIC_SECRET, .yes = B(EXTRACTABLE), .no = B(SENSITIVE)},
    {.name = "readable AES", .type = CKK_AES, .yes = B(EXTRACTABLE), .no = B(SENSITIVE)},
    {.name = "SIGN", .type = CKK_GENERIC_SECRET, .yes = B(SIGN)},
    {.name = "AES cipher", .type = CKK_AES, .yes = CIPHER},
    {.name = "AES WRAP", .type = CKK_AES, .yes = B(WRAP), .no = B(EXTRACTABLE)},
    {.name = "DERIVE", .type = CKK_GENERIC_SECRET, .yes = B(DERIVE), .no = B(EXTRACTABLE)},
};

/* For C_CopyObject and C_SetAttributeValue. */
static const struct shape change[] = {
    [CHANGE_NOTHING] = {.name = "nothing", .type = UNSAID},
    [CHANGE_LABEL] = {.name = "a label", .type = UNSAID, .label = "renamed"},
    [CHANGE_TO_SUBKEY_LABEL] = {.name = "a subkey's label",
                                .type = UNSAID,
                                .label = "victim/payload"},
    {.name = "TOKEN", .type = UNSAID, .yes = B(TOKEN)},
    {.name = "not TOKEN", .type = UNSAID, .no = B(TOKEN)},
    {.name = "not SENSITIVE, EXTRACTABLE",
     .type = UNSAID,
     .yes = B(EXTRACTABLE),
     .no = B(SENSITIVE)},
    {.name = "not TOKEN, not SENSITIVE, EXTRACTABLE",
     .type = UNSAID,
     .yes = B(EXTRACTABLE),
     .no = B(SENSITIVE) | B(TOKEN)},
    {.name = "SIGN", .type = UNSAID, .yes = B(SIGN)},
    {.name = "SIGN, not DERIVE", .type = UNSAID, .yes = B(SIGN), .no = B(DERIVE)},
    {.name = "ENCRYPT, not DERIVE", .type = UNSAID, .yes = B(ENCRYPT), .no = B(DERIVE)},
    {.name = "DERIVE, not SIGN", .type = UNSAID, .yes = B(DERIVE), .no = B(SIGN)},
    {.name = "WRAP", .type = UNSAID, .yes = B(WRAP)},
    {.name = "DECRYPT", .type = UNSAID, .yes = B(DECRYPT)},
    {.name = "DECRYPT, not WRAP", .type = UNSAID, .yes = B(DECRYPT), .no = B(WRAP)},
    {.name = "TRUSTED", .type = UNSAID, .yes = B(TRUSTED)},
    {.name = "not WRAP_WITH_TRUSTED", .type = UNSAID, .no = B(WRAP_WITH_TRUSTED)},
    {.name = "CKA_DERIVE_TEMPLATE", .type = UNSAID, .derives = true, .of_target = true},
    {.name = "CBC", .type = UNSAID, .allows = CKM_AES_CBC},
    {.name = "HMAC", .type = UNSAID, .allows = CKM_SHA256_HMAC},
};

const struct shape_list shapes_create = LIST(create);
const struct shape_list shapes_generate = LIST(generate);
const struct shape_list shapes_derive = LIST(derive);
const struct shape_list shapes_unwrap = LIST(unwrap);
const struct shape_list shapes_change = LIST(change);

static const struct {
    enum attribute_flag flag;
    CK_ATTRIBUTE_TYPE type;
} booleans[] = {
    {FLAG_TOKEN, CKA_TOKEN},
    {FLAG_SENSITIVE, CKA_SENSITIVE},
    {FLAG_ENCRYPT, CKA_ENCRYPT},
    {FLAG_DECRYPT, CKA_DECRYPT},
    {FLAG_SIGN, CKA_SIGN},
    {FLAG_VERIFY, CKA_VERIFY},
    {FLAG_WRAP, CKA_WRAP},
    {FLAG_UNWRAP, CKA_UNWRAP},
    {FLAG_DERIVE, CKA_DERIVE},
    {FLAG_EXTRACTABLE, CKA_EXTRACTABLE},
    {FLAG_WRAP_WITH_TRUSTED, CKA_WRAP_WITH_TRUSTED},
    {FLAG_TRUSTED, CKA_TRUSTED},
};

void shape_constant(unsigned char number, unsigned char ret_bytes[32])
{
    for (size_t i = 0; i < 32; i++)
        ret_bytes[i] = (unsigned char) (number * 0x35U + i * 0x9dU + (i * i * number) % 251U);
}

void shape_add(struct shape_template *template, CK_ATTRIBUTE_TYPE type, const void *value,
               CK_ULONG len)
{
    REQUIRE(template->count < SHAPE_ATTRIBUTES_MAX);
    template->attributes[template->count++] = (CK_ATTRIBUTE){type, (void *) value, len};
}

void shape_fill(const struct shape *shape, struct shape_template *ret_template)
{
    static const CK_BBOOL yes = CK_TRUE;
    static const CK_BBOOL no = CK_FALSE;
    static const CK_ATTRIBUTE derives[] = {{CKA_DERIVE, (void *) &yes, sizeof(yes)}};
    struct shape_template *made = ret_template;

    memset(made, 0, sizeof(*made));
    made->object_class = shape->is_data ? CKO_DATA : CKO_SECRET_KEY;
    made->type = shape->type;
    made->len = shape->len;
    made->allows = shape->allows;
    if (shape->is_data || shape->type != UNSAID)
        shape_add(made, CKA_CLASS, &made->object_class, sizeof(made->object_class));
    if (shape->type != UNSAID)
        shape_add(made, CKA_KEY_TYPE, &made->type, sizeof(made->type));
    if (shape->len != 0)
        shape_add(made, CKA_VALUE_LEN, &made->len, sizeof(made->len));
    if (shape->allows != 0)
        shape_add(made, CKA_ALLOWED_MECHANISMS, &made->allows, sizeof(made->allows));
    if (shape->derives)
        shape_add(made, CKA_DERIVE_TEMPLATE, derives, sizeof(derives));
    if (shape->label != NULL)
        shape_add(made, CKA_LABEL, shape->label, strlen(shape->label));
    for (size_t i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
        if ((shape->yes & FLAG_BIT(booleans[i].flag)) != 0)
            shape_add(made, booleans[i].type, &yes, sizeof(yes));
        if ((shape->no & FLAG_BIT(booleans[i].flag)) != 0)
            shape_add(made, booleans[i].type, &no, sizeof(no));
    }
    if (shape->value != 0) {
        shape_constant(shape->value, made->value);
        shape_add(made, CKA_VALUE, made->value, sizeof(made->value));
    }
}
