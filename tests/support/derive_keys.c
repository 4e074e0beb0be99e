#include "tests/support/derive_keys.h"

#include <stdlib.h>
#include <string.h>

void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    CK_ULONG at = template->count++;

    REQUIRE(at < 16);
    template->numbers[at] = value;
    template->entries[at] = (CK_ATTRIBUTE){type, &template->numbers[at], sizeof(CK_ULONG)};
}

void template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, CK_BBOOL value)
{
    CK_ULONG at = template->count++;

    REQUIRE(at < 16);
    template->flags[at] = value;
    template->entries[at] = (CK_ATTRIBUTE){type, &template->flags[at], sizeof(CK_BBOOL)};
}

struct template *template_open(struct template *template, CK_KEY_TYPE type, CK_ULONG len)
{
    memset(template, 0, sizeof(*template));
    template_number(template, CKA_CLASS, CKO_SECRET_KEY);
    template_number(template, CKA_KEY_TYPE, type);
    template_flag(template, CKA_SENSITIVE, CK_FALSE);
    template_flag(template, CKA_EXTRACTABLE, CK_TRUE);
    if (len > 0)
        template_number(template, CKA_VALUE_LEN, len);
    return template;
}

struct template *template_said(struct template *template, int said)
{
    memset(template, 0, sizeof(*template));
    template_number(template, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_number(template, CKA_VALUE_LEN, 32);
    if (said != 0) {
        template_flag(template, CKA_SENSITIVE, said == 2);
        template_flag(template, CKA_EXTRACTABLE, said == 1);
    }
    return template;
}

static CK_OBJECT_HANDLE create(struct api *api, CK_KEY_TYPE type, bool open, CK_ATTRIBUTE value)
{
    struct template template;
    CK_OBJECT_HANDLE key;

    template_open(&template, type, 0);
    template.flags[2] = !open;
    template.flags[3] = open;
    template_flag(&template, CKA_DERIVE, CK_TRUE);
    template.entries[template.count++] = value;
    OK(api->p11->C_CreateObject(api->session, template.entries, template.count, &key));
    return key;
}

static CK_OBJECT_HANDLE generate(struct api *api, CK_KEY_TYPE type, bool open)
{
    CK_MECHANISM mechanism = {type == CKK_AES ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, NULL,
                              0};
    struct template template;
    CK_OBJECT_HANDLE key;

    template_open(&template, type, 32);
    template.flags[2] = !open;
    template.flags[3] = open;
    template_flag(&template, CKA_DERIVE, CK_TRUE);
    OK(api->p11->C_GenerateKey(api->session, &mechanism, template.entries, template.count, &key));
    return key;
}

CK_OBJECT_HANDLE derive_base(struct api *api, enum key_kind kind, CK_KEY_TYPE type)
{
    CK_BYTE bytes[32];

    for (CK_BYTE i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    if (kind == KEY_IMPORTED)
        return create(api, type, false, (CK_ATTRIBUTE){CKA_VALUE, bytes, sizeof(bytes)});
    return generate(api, type, kind == KEY_OPEN);
}

CK_OBJECT_HANDLE derive_open_base(struct api *api, CK_KEY_TYPE type, const void *value,
                                  CK_ULONG len)
{
    return create(api, type, true, (CK_ATTRIBUTE){CKA_VALUE, (void *) value, len});
}

CK_RV derive_with(struct api *api, CK_MECHANISM mechanism, CK_OBJECT_HANDLE base,
                  struct template *template, CK_OBJECT_HANDLE *ret_key)
{
    CK_OBJECT_HANDLE key = 0xdead;
    CK_ULONG before = api_count(api, NULL, 0);
    CK_RV rv =
        api->p11->C_DeriveKey(api->session, &mechanism, base, template ? template->entries : NULL,
                              template ? template->count : 0, &key);

    if (rv != CKR_OK) {
        REQUIRE_MSG(key == 0xdead, "a handle came out of a failure");
        REQUIRE_MSG(api_count(api, NULL, 0) == before, "an object came out of a failure");
    } else if (ret_key != NULL) {
        *ret_key = key;
    }
    return rv;
}

CK_ULONG derive_value(struct api *api, CK_OBJECT_HANDLE key, CK_BYTE out[512])
{
    CK_ATTRIBUTE value = {CKA_VALUE, out, 512};

    OK(api->p11->C_GetAttributeValue(api->session, key, &value, 1));
    return value.ulValueLen;
}

void derive_expect_value(struct api *api, CK_OBJECT_HANDLE key, const void *wanted, CK_ULONG len)
{
    CK_BYTE out[512];

    REQUIRE(derive_value(api, key, out) == len);
    REQUIRE(memcmp(out, wanted, len) == 0);
}

CK_BBOOL derive_flag(struct api *api, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL flag = 2;
    CK_ATTRIBUTE entry = {type, &flag, sizeof(flag)};

    OK(api->p11->C_GetAttributeValue(api->session, key, &entry, 1));
    return flag;
}

bool derive_logged(const struct api *api, const char *text)
{
    char *log = api_log(api);
    bool found = strstr(log, text) != NULL;

    free(log);
    return found;
}
