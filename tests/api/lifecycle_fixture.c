#include "tests/api/lifecycle_fixture.h"

#include <stdio.h>
#include <string.h>

struct api api;

const char *const use_names[USES] = {
    "encrypt",
    "decrypt",
    "sign",
    "verify",
    "wrap",
    "unwrap",
    "derive",
    "message encrypt",
    "message decrypt",
    "message sign",
    "message verify",
    "verify signature",
};
const char *const governor_labels[GOVERNORS] = {"index", "aes", "mac", "wrap", "plain"};

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_ULONG len_32 = 32;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_KEY_TYPE aes = CKK_AES;
static CK_BYTE iv[12];
static CK_GCM_PARAMS gcm_params = {iv, sizeof(iv), 96, NULL, 0, 128};
static CK_MECHANISM gcm = {CKM_AES_GCM, &gcm_params, sizeof(gcm_params)};
static CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
static CK_MECHANISM sha3_hmac = {CKM_SHA3_256_HMAC, NULL, 0};
static CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
static CK_HKDF_PARAMS hkdf_params = {
    .bExpand = CK_TRUE, .prfHashMechanism = CKM_SHA256, .ulSaltType = CKF_HKDF_SALT_NULL};
static CK_MECHANISM hkdf = {CKM_HKDF_DERIVE, &hkdf_params, sizeof(hkdf_params)};
/* A key that is wrapped under `wrap` while that is active. */
static CK_BYTE wrapped[64];
static CK_ULONG wrapped_len;

static void generate(CK_MECHANISM_TYPE type, const char *label, const CK_ATTRIBUTE *more,
                     CK_ULONG count)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ATTRIBUTE template[8] = {
        {CKA_TOKEN, &yes, 1},
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_LABEL, (void *) label, strlen(label)},
    };
    CK_OBJECT_HANDLE key;

    memcpy(template + 3, more, count * sizeof(*more));
    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 3 + count, &key));
}

/* Extractable, a session key. */
static CK_OBJECT_HANDLE make_cargo(void)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {CKA_EXTRACTABLE, &yes, 1},
        {CKA_SIGN, &yes, 1},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, COUNT(template), &key));
    return key;
}

static CK_RV wrap(CK_OBJECT_HANDLE key, CK_BYTE out[64], CK_ULONG *len)
{
    CK_OBJECT_HANDLE cargo = make_cargo();

    *len = 64;
    CK_RV rv = api.p11->C_WrapKey(api.session, &kwp, key, cargo, out, len);
    OK(api.p11->C_DestroyObject(api.session, cargo));
    return rv;
}

void lifecycle_make_keys(void)
{
    static CK_MECHANISM_TYPE only_hkdf = CKM_HKDF_DERIVE;
    static CK_MECHANISM_TYPE only_gcm = CKM_AES_GCM;
    const CK_ATTRIBUTE cipher[] = {
        {CKA_ENCRYPT, &yes, 1},
        {CKA_DECRYPT, &yes, 1},
        {CKA_ALLOWED_MECHANISMS, &only_gcm, sizeof(only_gcm)},
    };
    const CK_ATTRIBUTE mac[] = {{CKA_SIGN, &yes, 1}, {CKA_VERIFY, &yes, 1}};
    const CK_ATTRIBUTE wraps[] = {{CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}};
    const CK_ATTRIBUTE plain[] = {
        {CKA_DERIVE, &yes, 1},
        {CKA_ALLOWED_MECHANISMS, &only_hkdf, sizeof(only_hkdf)},
    };

    api_make_index_key(&api, "index", 1);
    generate(CKM_AES_KEY_GEN, "aes", cipher, 3);
    generate(CKM_GENERIC_SECRET_KEY_GEN, "mac", mac, 2);
    generate(CKM_AES_KEY_GEN, "wrap", wraps, 2);
    generate(CKM_GENERIC_SECRET_KEY_GEN, "plain", plain, 2);
    OK(wrap(lifecycle_governor(GOVERNOR_WRAP), wrapped, &wrapped_len));
}

CK_OBJECT_HANDLE lifecycle_find(const char *label)
{
    CK_ATTRIBUTE template[] = {{CKA_LABEL, (void *) label, strlen(label)}, {CKA_TOKEN, &yes, 1}};
    CK_OBJECT_HANDLE handles[2] = {0, 0};
    CK_ULONG found = 0;

    OK(api.p11->C_FindObjectsInit(api.session, template, COUNT(template)));
    OK(api.p11->C_FindObjects(api.session, handles, 2, &found));
    OK(api.p11->C_FindObjectsFinal(api.session));
    REQUIRE_MSG(found < 2, "two objects with label %s", label);
    return handles[0];
}

CK_OBJECT_HANDLE lifecycle_governor(enum governor governor)
{
    CK_OBJECT_HANDLE key = lifecycle_find(governor_labels[governor]);

    REQUIRE(key != 0);
    return key;
}

static CK_OBJECT_HANDLE copy(CK_OBJECT_HANDLE key)
{
    const CK_ATTRIBUTE template = {CKA_TOKEN, &no, 1};
    CK_OBJECT_HANDLE made;

    OK(api.p11->C_CopyObject(api.session, key, (CK_ATTRIBUTE *) &template, 1, &made));
    return made;
}

static CK_RV derive_purpose(CK_OBJECT_HANDLE key, enum indexkey_purpose purpose,
                            CK_OBJECT_HANDLE *ret_key)
{
    struct indexkey_kdf kdf;
    struct indexkey_template template;

    OK(indexkey_kdf_make(purpose, &kdf));
    OK(indexkey_template_make(purpose, &template));
    return api.p11->C_DeriveKey(api.session, &kdf.mechanism, key, template.attributes,
                                template.count, ret_key);
}

static CK_RV derive_plain(CK_OBJECT_HANDLE key, bool cipher, CK_OBJECT_HANDLE *ret_key)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, cipher ? &aes : &generic, sizeof(aes)},
        {CKA_VALUE_LEN, &len_32, sizeof(len_32)},
        {cipher ? CKA_ENCRYPT : CKA_SIGN, &yes, 1},
        {cipher ? CKA_DECRYPT : CKA_VERIFY, &yes, 1},
    };

    return api.p11->C_DeriveKey(api.session, &hkdf, key, template, COUNT(template), ret_key);
}

static size_t add_index_subjects(CK_OBJECT_HANDLE index, struct subject *subjects)
{
    static const char *const derived[] = {"",
                                          "derived token",
                                          "derived centroid",
                                          "derived payload",
                                          "derived item",
                                          "derived query"};
    static const char *const labels[] = {
        "", "index/token", "index/centroid", "index/payload", "index/item", "index/query"};
    size_t count = 0;

    for (enum indexkey_purpose purpose = 1; purpose <= INDEXKEY_PURPOSE_COUNT; purpose++) {
        bool cipher = purpose == INDEXKEY_PURPOSE_PAYLOAD || purpose == INDEXKEY_PURPOSE_ITEM;
        struct subject subject = {labels[purpose], cipher ? FORM_CIPHER : FORM_MAC, !cipher,
                                  lifecycle_find(labels[purpose])};
        subjects[count++] = subject;
        subject.name = derived[purpose];
        OK(derive_purpose(index, purpose, &subject.key));
        subjects[count++] = subject;
    }
    subjects[count++] =
        (struct subject){"copy of derived payload", FORM_CIPHER, false, copy(subjects[5].key)};
    return count;
}

size_t lifecycle_subjects(enum governor governor, struct subject subjects[SUBJECTS_MAX])
{
    static const enum form forms[] = {FORM_INDEX, FORM_CIPHER, FORM_MAC, FORM_WRAPS, FORM_DERIVES};
    CK_OBJECT_HANDLE key = lifecycle_governor(governor);
    size_t count = 0;

    subjects[count++] = (struct subject){governor_labels[governor], forms[governor], false, key};
    subjects[count++] = (struct subject){"copy", forms[governor], false, copy(key)};
    if (governor == GOVERNOR_INDEX)
        count += add_index_subjects(key, subjects + count);
    if (governor == GOVERNOR_PLAIN) {
        for (int cipher = 0; cipher < 2; cipher++) {
            struct subject subject = {cipher ? "derived cipher" : "derived MAC",
                                      cipher ? FORM_CIPHER : FORM_MAC, false, 0};
            OK(derive_plain(key, cipher, &subject.key));
            subjects[count++] = subject;
        }
    }
    subjects[count] = subjects[1];
    subjects[count].name = "copy of the copy";
    subjects[count].key = copy(subjects[1].key);
    return count + 1;
}

bool lifecycle_has_use(const struct subject *subject, enum use use)
{
    switch (use) {
    case USE_ENCRYPT:
    case USE_DECRYPT:
    case USE_MESSAGE_ENCRYPT:
    case USE_MESSAGE_DECRYPT:
        return subject->form == FORM_CIPHER;
    case USE_SIGN:
    case USE_VERIFY:
    case USE_MESSAGE_SIGN:
    case USE_MESSAGE_VERIFY:
    case USE_VERIFY_SIGNATURE:
        return subject->form == FORM_MAC;
    case USE_WRAP:
    case USE_UNWRAP:
        return subject->form == FORM_WRAPS;
    default:
        return subject->form == FORM_INDEX || subject->form == FORM_DERIVES;
    }
}

static CK_RV unwrap(CK_OBJECT_HANDLE key)
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof(secret_key)},
        {CKA_KEY_TYPE, &generic, sizeof(generic)},
    };
    CK_OBJECT_HANDLE made;
    CK_RV rv = api.p11->C_UnwrapKey(api.session, &kwp, key, wrapped, wrapped_len, template,
                                    COUNT(template), &made);

    if (rv == CKR_OK)
        OK(api.p11->C_DestroyObject(api.session, made));
    return rv;
}

static CK_RV derive(const struct subject *subject)
{
    CK_OBJECT_HANDLE made;
    /* A session key is no index key, but derives as one. */
    CK_RV rv = subject->form == FORM_INDEX
                   ? derive_purpose(subject->key, INDEXKEY_PURPOSE_TOKEN, &made)
                   : derive_plain(subject->key, true, &made);

    if (rv == CKR_OK)
        OK(api.p11->C_DestroyObject(api.session, made));
    return rv;
}

/* C_SessionCancel ends what has begun. */
static CK_RV begin(const struct subject *subject, enum use use, CK_FLAGS *ret_flag)
{
    CK_FUNCTION_LIST_3_2 *p11 = api.p11;
    CK_SESSION_HANDLE session = api.session;
    CK_OBJECT_HANDLE key = subject->key;
    CK_MECHANISM *mac = strstr(subject->name, "centroid") != NULL ? &sha3_hmac : &hmac;
    CK_BYTE tag[32] = {0};
    CK_MECHANISM message = {CKM_AES_GCM, NULL, 0};

    switch (use) {
    case USE_ENCRYPT:
        *ret_flag = CKF_ENCRYPT;
        return p11->C_EncryptInit(session, &gcm, key);
    case USE_DECRYPT:
        *ret_flag = CKF_DECRYPT;
        return p11->C_DecryptInit(session, &gcm, key);
    case USE_SIGN:
        *ret_flag = CKF_SIGN;
        return p11->C_SignInit(session, mac, key);
    case USE_VERIFY:
        *ret_flag = CKF_VERIFY;
        return p11->C_VerifyInit(session, mac, key);
    case USE_MESSAGE_ENCRYPT:
        *ret_flag = CKF_MESSAGE_ENCRYPT;
        return p11->C_MessageEncryptInit(session, &message, key);
    case USE_MESSAGE_DECRYPT:
        *ret_flag = CKF_MESSAGE_DECRYPT;
        return p11->C_MessageDecryptInit(session, &message, key);
    case USE_MESSAGE_SIGN:
        *ret_flag = CKF_MESSAGE_SIGN;
        return p11->C_MessageSignInit(session, mac, key);
    case USE_MESSAGE_VERIFY:
        *ret_flag = CKF_MESSAGE_VERIFY;
        return p11->C_MessageVerifyInit(session, mac, key);
    default:
        *ret_flag = CKF_VERIFY;
        return p11->C_VerifySignatureInit(session, mac, key, tag, sizeof(tag));
    }
}

CK_RV lifecycle_use(const struct subject *subject, enum use use)
{
    CK_BYTE out[64];
    CK_ULONG len;
    CK_FLAGS flag = 0;

    if (use == USE_WRAP)
        return wrap(subject->key, out, &len);
    if (use == USE_UNWRAP)
        return unwrap(subject->key);
    if (use == USE_DERIVE)
        return derive(subject);
    CK_RV rv = begin(subject, use, &flag);
    if (rv == CKR_OK)
        OK(api.p11->C_SessionCancel(api.session, flag));
    return rv;
}

CK_RV lifecycle_wanted(const struct subject *subject, enum use use, CK_ULONG state)
{
    bool reads = use == USE_DECRYPT || use == USE_VERIFY || use == USE_UNWRAP ||
                 use == USE_DERIVE || use == USE_MESSAGE_DECRYPT || use == USE_MESSAGE_VERIFY ||
                 use == USE_VERIFY_SIGNATURE;
    bool searches = subject->searches && (use == USE_SIGN || use == USE_MESSAGE_SIGN);

    if (state == INDEXKEY_STATE_ACTIVE)
        return CKR_OK;
    if (state == INDEXKEY_STATE_DEACTIVATED || state == INDEXKEY_STATE_COMPROMISED)
        return reads || searches ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_KEY_FUNCTION_NOT_PERMITTED;
}

void lifecycle_expect(const struct subject *subjects, size_t count, CK_ULONG state,
                      const char *when)
{
    for (size_t i = 0; i < count; i++) {
        for (enum use use = 0; use < USES; use++) {
            char what[160];
            if (!lifecycle_has_use(&subjects[i], use))
                continue;
            snprintf(what, sizeof(what), "%s: %s with %s", when, use_names[use], subjects[i].name);
            api_expect(lifecycle_use(&subjects[i], use), lifecycle_wanted(&subjects[i], use, state),
                       what);
        }
        ck_assert_msg(lifecycle_number(subjects[i].key, CKA_INDEXKEY_STATE) == state,
                      "%s: state of %s", when, subjects[i].name);
    }
}

CK_ULONG lifecycle_number(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG number = 0;
    CK_ATTRIBUTE attribute = {type, &number, sizeof(number)};

    OK(api.p11->C_GetAttributeValue(api.session, key, &attribute, 1));
    return number;
}

void lifecycle_set_state(CK_OBJECT_HANDLE key, CK_ULONG state)
{
    OK(admin_key_set_state(api.session, key, state));
}

static CK_MECHANISM gcm_with(CK_BYTE number, CK_BYTE room[12], CK_GCM_PARAMS *params)
{
    memset(room, 0, 12);
    room[0] = number;
    *params = (CK_GCM_PARAMS){room, 12, 96, NULL, 0, 128};
    return (CK_MECHANISM){CKM_AES_GCM, params, sizeof(*params)};
}

CK_RV lifecycle_encrypt(CK_OBJECT_HANDLE key, CK_BYTE number, const CK_BYTE *text, CK_BYTE *out)
{
    CK_BYTE room[12];
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm_with(number, room, &params);
    CK_ULONG len = 48;
    CK_RV rv = api.p11->C_EncryptInit(api.session, &mechanism, key);

    return rv != CKR_OK ? rv : api.p11->C_Encrypt(api.session, (CK_BYTE *) text, 32, out, &len);
}

bool lifecycle_decrypts(CK_OBJECT_HANDLE key, CK_BYTE number, const CK_BYTE *sealed,
                        const CK_BYTE *text)
{
    CK_BYTE room[12];
    CK_GCM_PARAMS params;
    CK_MECHANISM mechanism = gcm_with(number, room, &params);
    CK_BYTE out[48];
    CK_ULONG len = sizeof(out);

    return api.p11->C_DecryptInit(api.session, &mechanism, key) == CKR_OK &&
           api.p11->C_Decrypt(api.session, (CK_BYTE *) sealed, 48, out, &len) == CKR_OK &&
           len == 32 && memcmp(out, text, 32) == 0;
}
